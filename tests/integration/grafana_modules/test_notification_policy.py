# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The tree of notification policies, at a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from grafana import Call, Grafana

POLICIES = "/api/v1/provisioning/policies"
UNLOCKED = {"X-Disable-Provenance": "true"}


@pytest.fixture(autouse=True)
def as_before(grafana: Grafana) -> Iterator[None]:
    before = grafana.api("GET", POLICIES)
    yield
    grafana.api("PUT", POLICIES, before, UNLOCKED)


@pytest.fixture(autouse=True)
def points(call: Call) -> None:
    for name in ("lifecycle", "people"):
        settings = {"url": f"http://{name}:8080/"}
        made = call("contact_point", name=name, integrations=[{"type": "webhook", "settings": settings}])
        assert not made.get("failed"), made["msg"]


def test_a_whole_tree(grafana: Grafana, call: Call, converge: Call) -> None:
    options: dict[str, Any] = {
        "receiver": "people",
        "group_wait": "90s",
        "repeat_interval": "4h",
        "routes": [
            {
                "receiver": "lifecycle",
                "matchers": ["mlops=drift", 'model!="a b"', ["version", "=~", "1.*"]],
                "group_by": ["version", "model"],
                "group_wait": "0s",
                "group_interval": 60,
                "continue": True,
                "routes": [{"matchers": [{"label": "team", "operator": "!~", "value": "x|y"}], "receiver": "people"}],
            },
            {"matchers": ["severity=low"]},
        ],
    }
    made = converge("notification_policy", **options)
    policy = made["notification_policy"]
    assert made["changed"] and (policy["locked"], policy["provenance"]) == (True, "api")
    assert (policy["group_wait"], policy["routes"][0]["group_interval"]) == ("1m30s", "1m")
    assert policy["routes"][0]["matchers"] == [
        ["mlops", "=", "drift"],
        ["model", "!=", "a b"],
        ["version", "=~", "1.*"],
    ]
    assert call("notification_policy_info")["notification_policy"] == policy
    # Other spellings of the same are the same.
    options["routes"][0]["matchers"] = ["version=~1.*", ["mlops", "=", "drift"], "model != a b"]
    options |= {"group_wait": 90, "group_by": ["alertname", "grafana_folder"]}
    assert not call("notification_policy", **options)["changed"]
    # The order of routes is none of that.
    turned = converge("notification_policy", **options | {"routes": options["routes"][::-1]})
    assert turned["changed"] and "matchers" in turned["notification_policy"]["routes"][0]
    fewer = converge("notification_policy", receiver="lifecycle", group_by=[])
    assert set(fewer["notification_policy"]) == {"receiver", "locked", "provenance"}
    assert grafana.api("GET", POLICIES)["receiver"] == "lifecycle"


def test_locked_and_unlocked(grafana: Grafana, converge: Call) -> None:
    for locked in (True, False, True, False):
        made = converge("notification_policy", receiver="people", locked=locked)
        assert made["changed"] and made["diff"]["after"]["locked"] is locked
        assert grafana.api("GET", POLICIES).get("provenance", "") == ("api" if locked else "")


def test_what_is_changed_elsewhere_is_set_back(grafana: Grafana, converge: Call) -> None:
    converge("notification_policy", receiver="people", locked=False)
    grafana.api("PUT", POLICIES, grafana.api("GET", POLICIES) | {"receiver": "lifecycle"}, UNLOCKED)
    again = converge("notification_policy", receiver="people", locked=False)
    assert again["changed"] and again["diff"]["before"]["receiver"] == "lifecycle"


def test_back_to_the_beginning(grafana: Grafana, converge: Call) -> None:
    converge("notification_policy", receiver="people", routes=[{"receiver": "lifecycle", "matchers": ["a=b"]}])
    gone = converge("notification_policy", state="absent")
    assert gone["changed"] and gone["notification_policy"]["receiver"] == "grafana-default-email"
    assert not gone["notification_policy"]["locked"] and "routes" not in gone["notification_policy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"receiver": "nobody"}, "receiver 'nobody' does not exist"),
        ({"receiver": "people", "routes": [{"receiver": "nobody"}]}, "receiver 'nobody' does not exist"),
        ({"receiver": "people", "routes": [{"mute_time_intervals": ["never"]}]}, "HTTP 400: "),
        ({"receiver": "people", "routes": [{"matcher": ["a=b"]}]}, "routes[0].matcher: a route has none of that name"),
        ({}, "state is present but all of the following are missing: receiver"),
    ],
)
def test_what_can_t_be(grafana: Grafana, call: Call, options: dict[str, Any], message: str) -> None:
    before = grafana.api("GET", POLICIES)
    failed = call("notification_policy", **options)
    assert failed["failed"] and message in failed["msg"], failed["msg"]
    assert grafana.api("GET", POLICIES) == before
