# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Automations, at a real server."""

from __future__ import annotations

from typing import Any

from prefect import Call, Prefect

TRIGGER: dict[str, Any] = {
    "type": "event",
    "posture": "Proactive",
    "match": {"prefect.resource.id": "prefect.flow-run.*"},
    "for_each": ["prefect.resource.id"],
    "after": ["prefect.flow-run.heartbeat"],
    "expect": ["prefect.flow-run.heartbeat", "prefect.flow-run.Completed", "prefect.flow-run.Failed"],
    "threshold": 1,
    "within": 90,
}
ACTIONS = [{"type": "change-flow-run-state", "state": "CRASHED", "message": "silent"}]


def test_an_automation(prefect: Prefect, call: Call) -> None:
    options: dict[str, Any] = {"name": "silent", "trigger": TRIGGER, "actions": ACTIONS}
    assert call("prefect_automation", check=True, **options)["changed"]
    assert call("prefect_automation_info", name="silent")["automations"] == []
    made = call("prefect_automation", **options)
    assert made["changed"] and made["automation"]["enabled"] and made["diff"]["before"] == {}
    for check in (True, False):
        assert not call("prefect_automation", check=check, **options)["changed"]
    # What is not given is left as it is, and what somebody changed of the rest is put right.
    place = f"/automations/{made['automation']['id']}"
    prefect.api("PATCH", place, {"enabled": False})
    assert not call("prefect_automation", **options)["changed"]
    changed = call("prefect_automation", **options | {"trigger": TRIGGER | {"within": 120}}, enabled=True)
    assert changed["automation"]["enabled"] and changed["automation"]["trigger"]["within"] == 120
    assert changed["automation"]["id"] == made["automation"]["id"]
    (info,) = call("prefect_automation_info", name="silent")["automations"]
    assert info == changed["automation"]
    for check in (True, False):
        assert call("prefect_automation", check=check, name="silent", state="absent")["changed"]
    assert not call("prefect_automation", name="silent", state="absent")["changed"]


def test_what_the_server_refuses_is_said(call: Call) -> None:
    refused = call("prefect_automation", name="wrong", trigger=TRIGGER, actions=[{"type": "no-such-action"}])
    assert refused["failed"] and refused["request"]["status"] == 422


def test_a_host_header_is_sent(call: Call) -> None:
    assert call("prefect_automation_info", host_header="prefect.example.org")["automations"] == []
