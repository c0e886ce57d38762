# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.automations import Automations, Wanted, settled

#: As the server gives it back.
HELD: dict[str, Any] = {
    "id": "1",
    "name": "silent",
    "description": "",
    "enabled": True,
    "tags": [],
    "trigger": {
        "type": "event",
        "id": "t",
        "match": {"prefect.resource.id": ["prefect.flow-run.*"]},
        "match_related": {},
        "expect": ["b", "a"],
        "within": 90.0,
        "threshold": 1,
    },
    "actions": [{"type": "change-flow-run-state", "state": "CRASHED", "name": None, "force": False}],
    "actions_on_trigger": [],
    "actions_on_resolve": [],
}


class Server:
    """The calls of the client, on a list."""

    def __init__(self, *held: dict[str, Any]) -> None:
        self.held = [copy.deepcopy(one) for one in held]
        self.written: list[str] = []

    def automations(self, name: str | None = None) -> list[dict[str, Any]]:
        return [one for one in self.held if name in (None, one["name"])]

    def create_automation(self, body: dict[str, Any]) -> None:
        self.written.append("create")
        self.held.append(body | {"id": "2"})

    def update_automation(self, automation: str, body: dict[str, Any]) -> None:
        self.written.append(automation)
        self.held = [body | {"id": one["id"]} if one["id"] == automation else one for one in self.held]

    def delete_automation(self, automation: str) -> None:
        self.held = [one for one in self.held if one["id"] != automation]


def at(server: Server, *, check: bool = False) -> Automations:
    return Automations(server, check=check)  # type: ignore[arg-type]


def test_what_is_said_otherwise_is_no_difference() -> None:
    match = {"prefect.resource.id": "prefect.flow-run.*"}
    wanted = {"type": "event", "match": match, "expect": ["a", "b"], "within": 90}
    assert settled(wanted, HELD["trigger"]) == HELD["trigger"]
    server = Server(HELD)
    actions = [{"type": "change-flow-run-state", "state": "CRASHED"}]
    outcome = at(server).present(Wanted("silent", {"trigger": wanted, "actions": actions, "tags": []}))
    assert not outcome.changed and server.written == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("enabled", False),
        ("trigger", {"within": 60}),
        ("trigger", {"match": {"other": ["x"]}}),
        ("trigger", {"expect": ["a"]}),
        ("actions", [{"type": "pause-automation"}]),
        ("actions", []),
    ],
)
def test_a_difference_is_written_once_and_the_rest_stays(setting: str, value: Any) -> None:
    server = Server(HELD)
    before = at(server, check=True).present(Wanted("silent", {setting: value}))
    assert before.changed and server.written == []
    outcome = at(server).present(Wanted("silent", {setting: value}))
    assert outcome.changed and server.written == ["1"] and outcome.after == before.after
    [held] = server.held
    for key in HELD.keys() - {setting, "id"}:
        assert held[key] == HELD[key]
    assert not at(server).present(Wanted("silent", {setting: value})).changed


def test_names_of_a_match_that_are_not_given_go_and_other_kinds_replace() -> None:
    assert settled({"match": {"a": "b"}}, HELD["trigger"])["match"] == {"a": "b"}
    assert settled({"type": "compound", "require": "all"}, HELD["trigger"]) == {"type": "compound", "require": "all"}


def test_a_new_one_needs_what_it_is_made_of() -> None:
    server = Server()
    with pytest.raises(InputError, match="trigger: the automation silent doesn't exist yet"):
        at(server).present(Wanted("silent", {"enabled": True}))
    made = {"trigger": HELD["trigger"], "actions": HELD["actions"]}
    assert at(server, check=True).present(Wanted("silent", made)).changed and server.held == []
    assert at(server).present(Wanted("silent", made)).changed
    assert not at(server).present(Wanted("silent", made)).changed
    assert at(server).absent("silent").changed and not at(server).absent("silent").changed


def test_several_of_one_name_are_not_guessed_among() -> None:
    with pytest.raises(InputError, match="there are 2 automations named silent"):
        at(Server(HELD, HELD | {"id": "3"})).present(Wanted("silent"))
