# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A server without the provisioning API, by a stand-in for what comes after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from grafana import Call
from successor import Successor, served

QUERY = {"ref_id": "A", "datasource_uid": "prometheus", "model": {"expr": "up"}}
ABOVE = {"ref_id": "B", "model": {"type": "threshold", "expression": "A"}}


def rule(title: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "condition": "B", "data": [QUERY, ABOVE]} | more


def webhook(**more: Any) -> dict[str, Any]:
    return {"type": "webhook", "settings": {"url": "http://lifecycle:8080/"}} | more


@pytest.fixture
def successor() -> Successor:
    return Successor()


@pytest.fixture
def call(successor: Successor, run: Call) -> Iterator[Call]:
    with served(successor) as url:
        yield lambda name, /, **args: run(name, **{"grafana_url": url, "token": "a-token-for-tests", **args})


def test_rules_are_a_group_by_their_names(successor: Successor, call: Call, converge: Call) -> None:
    options: dict[str, Any] = {
        "folder": "Drift",
        "name": "drift",
        "interval": "90s",
        "rules": [
            rule(
                "drifts",
                **{"for": "2m"},
                no_data_state="OK",
                labels={"mlops": "drift"},
                annotations={"__dashboardUid__": "d", "__panelId__": "7", "summary": "s"},
                notification_settings={"receiver": "lifecycle", "group_by": ["model"], "group_wait": "30s"},
                keep_firing_for="5m",
                missing_series_evals_to_resolve=2,
            ),
            rule("second", uid="chosen", paused=True),
        ],
    }
    made = converge("alert_rule_group", **options)
    assert made["changed"] and made["alert_rule_group"]["interval"] == "1m30s"
    held = {one["spec"]["title"]: one for one in successor.objects["alertrules"].values()}
    spec = held["drifts"]["spec"]
    assert held["drifts"]["metadata"]["annotations"]["grafana.com/provenance"] == "api"
    assert held["second"]["metadata"]["name"] == "chosen"
    assert (spec["trigger"], spec["for"], spec["noDataState"]) == ({"interval": "1m30s"}, "2m", "Ok")
    assert spec["panelRef"] == {"dashboardUID": "d", "panelID": 7} and spec["annotations"] == {"summary": "s"}
    assert spec["expressions"]["A"]["relativeTimeRange"] == {"from": "600s", "to": "0s"}
    assert (spec["expressions"]["A"]["source"], spec["expressions"]["B"]["source"]) == (False, True)
    assert "datasourceUID" not in spec["expressions"]["B"]
    assert spec["notificationSettings"]["type"] == "SimplifiedRouting"
    [info] = call("alert_rule_group_info")["alert_rule_groups"]
    assert info == {key: value for key, value in made["alert_rule_group"].items() if key != "folder"}
    # One is changed, one goes; nothing else is touched.
    successor.writes.clear()
    options |= {"locked": False, "rules": [rule("drifts")]}
    changed = converge("alert_rule_group", **options)
    assert changed["changed"] and [one["spec"]["title"] for one in successor.objects["alertrules"].values()] == [
        "drifts"
    ]
    assert [write.partition(" ")[0] for write in successor.writes] == ["PUT", "DELETE"]
    converge("alert_rule_group", folder="Drift", name="other", rules=[rule("other")])
    pruned = converge("alert_rule_group", folder="Drift", state="pruned", keep=["other"])
    assert pruned["removed"] == ["drift"]
    assert converge("alert_rule_group", folder="Drift", name="other", state="absent")["changed"]
    assert successor.objects["alertrules"] == {}


def test_a_group_of_the_old_api_is_taken_over(successor: Successor, call: Call, converge: Call) -> None:
    options: dict[str, Any] = {"folder_uid": "f", "name": "old", "rules": [rule("theirs", uid="u1")]}
    converge("alert_rule_group", **options)
    metadata = successor.objects["alertrules"]["u1"]["metadata"]
    metadata["labels"] = {"grafana.com/group": "old", "grafana.com/group-index": "1"}
    metadata["annotations"].pop("mlops.onprem/group")
    assert not call("alert_rule_group", **options)["changed"]
    metadata["annotations"]["grafana.com/provenance"] = "file"
    failed = call("alert_rule_group", **options)
    assert failed["failed"] and "the group old is provisioned by file; change it there" in failed["msg"]


def test_contact_points(successor: Successor, call: Call, converge: Call) -> None:
    def options(word: str) -> dict[str, Any]:
        mail = {"type": "email", "settings": {"addresses": "a@example.org"}}
        return {"name": "p", "integrations": [webhook(secure_settings={"password": f"{word}-for-good"}), mail]}

    made = converge("contact_point", **options("swordfish"))
    assert made["changed"] and "for-good" not in str(made)
    [held] = successor.objects["receivers"].values()
    uid = held["spec"]["integrations"][0]["uid"]
    assert successor.secrets[uid] == {"password": "swordfish-for-good"}
    rotated = converge("contact_point", **options("haddock"))
    assert rotated["diff"]["after"]["integrations"][0]["secure_settings"] == {"password": "******** (changed)"}
    assert successor.secrets[uid] == {"password": "haddock-for-good"}
    # What is not said of secrets leaves them, and the server has them still.
    converge("contact_point", name="p", integrations=[webhook(disable_resolve_message=True)])
    assert successor.secrets[uid] == {"password": "haddock-for-good"}
    assert [one["name"] for one in call("contact_point_info")["contact_points"]] == ["p"]
    converge("notification_policy", receiver="p")
    assert "a notification policy tells" in call("contact_point", name="p", state="absent")["msg"]
    converge("notification_policy", state="absent")
    assert converge("contact_point", name="p", state="absent")["changed"]


def test_a_server_that_keeps_no_hashes_says_so(run: Call) -> None:
    with served(Successor(versions=("v1beta1",))) as url:
        options = {"name": "p", "integrations": [webhook(secure_settings={"password": "swordfish"})]}
        for _ in range(2):
            made = run("contact_point", grafana_url=url, token="t" * 8, **options)
            assert made["changed"] and "Grafana keeps no hash of password" in str(made["warnings"])


def test_policies(successor: Successor, call: Call, converge: Call) -> None:
    routes = [
        {"receiver": "lifecycle", "matchers": ["mlops=drift"], "group_wait": "0s", "routes": [{"continue": True}]}
    ]
    made = converge("notification_policy", receiver="people", group_interval="90s", routes=routes)
    assert made["changed"] and made["notification_policy"]["provenance"] == "api"
    spec = successor.objects["routingtrees"]["user-defined"]["spec"]
    assert spec["defaults"] == {
        "receiver": "people",
        "group_by": ["alertname", "grafana_folder"],
        "group_interval": "1m30s",
    }
    [route] = spec["routes"]
    assert route["matchers"] == [{"label": "mlops", "type": "=", "value": "drift"}] and route["continue"] is False
    assert call("notification_policy_info")["notification_policy"] == made["notification_policy"]
    assert converge("notification_policy", receiver="people", locked=False)["changed"]
    assert converge("notification_policy", state="absent")["changed"]


def test_a_server_that_has_neither(run: Call, successor: Successor) -> None:
    successor.versions = {}
    with served(successor) as url:
        for name, options in (
            ("alert_rule_group_info", {}),
            ("contact_point_info", {}),
            ("notification_policy", {"receiver": "x"}),
        ):
            failed = run(name, grafana_url=url, **options)
            assert failed["failed"] and "neither the provisioning API nor its successor" in failed["msg"], failed["msg"]


def test_a_server_of_versions_to_come(run: Call, successor: Successor) -> None:
    successor.versions = {"notifications.alerting.grafana.app": ("v2", "v3")}
    with served(successor) as url:
        failed = run("contact_point_info", grafana_url=url)
    assert "the server has the versions v2, v3, and this collection speaks v0alpha1, v1beta1" in failed["msg"]
