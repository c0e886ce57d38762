# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Groups of alert rules, at a real server."""

from __future__ import annotations

from typing import Any

import pytest
from grafana import Call, Grafana

RULES = "/api/v1/provisioning/alert-rules"


def query(**more: Any) -> dict[str, Any]:
    return {"ref_id": "A", "datasource_uid": "prometheus", "model": {"expr": "up", "instant": True}} | more


THRESHOLD = {
    "ref_id": "B",
    "model": {
        "type": "threshold",
        "expression": "A",
        "conditions": [{"evaluator": {"type": "gt", "params": [1]}}],
    },
}


def rule(title: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "condition": "B", "data": [query(), THRESHOLD]} | more


def held(grafana: Grafana, group: str) -> list[dict[str, Any]]:
    rules = [one for one in grafana.api("GET", RULES) if one["ruleGroup"] == group]
    return [grafana.api("GET", f"{RULES}/{one['uid']}") for one in rules]


def test_a_whole_group(grafana: Grafana, call: Call, converge: Call) -> None:
    options: dict[str, Any] = {
        "folder": "Drift of models",
        "name": "whole group: 1",
        "interval": "90s",
        "rules": [
            rule("z first", **{"for": "90s"}, labels={"team": "ml", "n": 5, "on": True}, no_data_state="OK"),
            rule(
                "a second",
                uid="fixed-uid",
                annotations={"summary": "{{ $labels.model }} drifts"},
                exec_err_state="Alerting",
                paused=True,
                data=[
                    query(relative_time_range={"from": "1h", "to": "300"}, query_type="range"),
                    query(ref_id="C", model={"expr": "x", "intervalMs": 0, "maxDataPoints": 12.0, "queryType": "q"}),
                    THRESHOLD,
                ],
            ),
        ],
    }
    made = converge("alert_rule_group", **options)
    assert made["changed"] and made["diff"]["before"] == {}
    group = made["alert_rule_group"]
    assert (group["interval"], group["locked"], group["provenance"]) == ("1m30s", True, "api")
    first, second = sorted(group["rules"], key=lambda one: str(one["title"]), reverse=True)
    assert (first["for"], first["labels"]) == ("1m30s", {"team": "ml", "n": "5", "on": "true"})
    assert first["data"][0]["model"] == {
        "expr": "up",
        "instant": True,
        "intervalMs": 1000,
        "maxDataPoints": 43200,
        "refId": "A",
    }
    assert (second["uid"], second["paused"]) == ("fixed-uid", True)
    assert second["data"][0]["relative_time_range"] == {"from": 3600, "to": 300}
    assert second["data"][2]["query_type"] == "q"
    assert {one["provenance"] for one in held(grafana, "whole group: 1")} == {"api"}
    [info] = call("alert_rule_group_info", folder="Drift of models", name="whole group: 1")["alert_rule_groups"]
    assert info == {key: value for key, value in group.items() if key != "folder"}
    # The interval alone, then one rule's content; ids stay.
    changed = converge("alert_rule_group", **options | {"interval": "2m"})
    assert changed["changed"] and changed["diff"]["after"]["interval"] == "2m"
    assert changed["diff"]["before"]["rules"] == changed["diff"]["after"]["rules"]
    options |= {"interval": "2m", "rules": [rule("z first", **{"for": "5m"}), rule("third")]}
    replaced = converge("alert_rule_group", **options)
    rules = {one["title"]: one for one in replaced["alert_rule_group"]["rules"]}
    assert set(rules) == {"z first", "third"} and rules["z first"]["uid"] == first["uid"]
    assert not grafana.there(f"{RULES}/fixed-uid")
    gone = converge("alert_rule_group", folder="Drift of models", name="whole group: 1", state="absent")
    assert gone["changed"] and gone["diff"]["after"] == {} and held(grafana, "whole group: 1") == []


def test_what_is_changed_elsewhere_is_set_back(grafana: Grafana, converge: Call) -> None:
    options: dict[str, Any] = {"folder_uid": "drift", "folder": "Alerts on drift", "name": "mine", "locked": False}
    converge("alert_rule_group", **options, rules=[rule("a"), rule("b")])
    assert grafana.api("GET", "/api/folders/drift")["title"] == "Alerts on drift"
    [first, second] = held(grafana, "mine")
    theirs = first | {"for": "7m", "isPaused": True}
    grafana.api("PUT", f"{RULES}/{first['uid']}", theirs, {"X-Disable-Provenance": "true"})
    grafana.api("DELETE", f"{RULES}/{second['uid']}")
    again = converge("alert_rule_group", **options, rules=[rule("a"), rule("b")])
    assert again["changed"] and again["diff"]["before"]["rules"][0]["for"] == "7m"
    # Pausing is left to whoever looks after the alerts, as long as nothing is said of it.
    assert [one["isPaused"] for one in held(grafana, "mine")] == [True, False]
    converge("alert_rule_group", **options, rules=[rule("a", paused=False), rule("b")])
    assert [one["isPaused"] for one in held(grafana, "mine")] == [False, False]


def test_the_order_of_rules_is_no_change_for_ever(converge: Call) -> None:
    options: dict[str, Any] = {"folder": "Ordered", "name": "ordered"}
    converge("alert_rule_group", **options, rules=[rule("o1"), rule("o2")])
    turned = converge("alert_rule_group", **options, rules=[rule("o3"), rule("o2"), rule("o1")])
    assert turned["changed"] and len(turned["alert_rule_group"]["rules"]) == 3


def test_locked_and_unlocked(grafana: Grafana, converge: Call) -> None:
    options: dict[str, Any] = {"folder": "Locks", "name": "locks", "rules": [rule("l1"), rule("l2")]}
    for locked in (True, False, True):
        made = converge("alert_rule_group", **options, locked=locked)
        assert made["changed"] and made["diff"]["after"]["locked"] is locked
        assert {one.get("provenance", "") for one in held(grafana, "locks")} == {"api" if locked else ""}
    # One of them unlocked by hand makes it half locked.
    identity = held(grafana, "locks")[0]["uid"]
    grafana.api("DELETE", f"{RULES}/{identity}")
    body = {"orgID": 1, "folderUID": held(grafana, "locks")[0]["folderUID"], "ruleGroup": "locks", "title": "l1"}
    source = held(grafana, "locks")[0]
    body |= {key: source[key] for key in ("condition", "data", "noDataState", "execErrState", "for")}
    grafana.api("POST", RULES, body, {"X-Disable-Provenance": "true"})
    assert converge("alert_rule_group", **options)["diff"]["before"]["locked"] is False


def test_a_rule_of_another_uid_takes_a_title(grafana: Grafana, converge: Call) -> None:
    options: dict[str, Any] = {"folder": "Uids", "name": "uids"}
    converge("alert_rule_group", **options, rules=[rule("same title")])
    made = converge("alert_rule_group", **options, rules=[rule("same title", uid="chosen")])
    assert [one["uid"] for one in made["alert_rule_group"]["rules"]] == ["chosen"]
    renamed = converge("alert_rule_group", **options, rules=[rule("other title", uid="chosen")])
    assert [one["title"] for one in renamed["alert_rule_group"]["rules"]] == ["other title"]
    assert len(held(grafana, "uids")) == 1


def test_pruning_stays_in_the_folder(grafana: Grafana, call: Call, converge: Call) -> None:
    for folder, names in (("Pruned", ("p1", "p2", "p3")), ("Beside", ("p4",))):
        for name in names:
            call("alert_rule_group", folder=folder, name=name, rules=[rule(f"rule of {name}")], locked=name != "p2")
    made = converge("alert_rule_group", folder="Pruned", state="pruned", keep=["p1", "never"])
    assert made["changed"] and made["removed"] == ["p2", "p3"]
    assert set(made["diff"]["before"]) == {"p1", "p2", "p3"} and set(made["diff"]["after"]) == {"p1"}
    names = {group["name"] for group in call("alert_rule_group_info")["alert_rule_groups"]}
    assert {"p1", "p4"} <= names and not {"p2", "p3"} & names
    assert not converge("alert_rule_group", folder="Nowhere", state="pruned", keep=[])["changed"]
    assert "Nowhere" not in [one["title"] for one in grafana.api("GET", "/api/folders")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": [rule("x", condition="Z")]}, "rules[0].condition: Z is no ref_id in data"),
        ({"rules": []}, "rules: a group has one rule at least"),
        ({"name": "a/b"}, "name: 'a/b' must have no slash"),
        ({"interval": "15s"}, "interval (15s) should be non-zero and divided exactly by scheduler interval"),
        ({"interval": "often"}, "interval: 'often' is not a duration"),
        ({"rules": [rule("x", keep_firing_for="5m")]}, "keeps it otherwise than declared, at rules[0].keep_firing_for"),
    ],
)
def test_what_can_t_be(call: Call, options: dict[str, Any], message: str) -> None:
    failed = call("alert_rule_group", **{"folder": "Wrong", "name": "wrong", "rules": [rule("x")]} | options)
    assert failed["failed"] and message in failed["msg"], failed["msg"]
