# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.users import (
    User,
    parse_held,
    parse_user,
    permissions_after,
)

READ_ALL = {"resource": "registered_model", "name": "*", "permission": "READ"}


def test_a_user_as_declared() -> None:
    user = parse_user("users[0]", {"name": "serving", "password": "x" * 12, "permissions": [READ_ALL]})
    assert user == User("serving", password="x" * 12, permissions={("registered_model", "*"): "READ"})
    assert "xxx" not in repr(user)
    assert parse_user("users[0]", {"name": "a", "permissions": None}).permissions is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": ""}, r"users\[2\].name: must not be empty"),
        ({"name": "a:b"}, r"users\[2\].name: 'a:b' can't have a colon"),
        ({"name": "a", "password": "hunter2"}, r"users\[2\].password: the password of a has fewer than 12"),
        ({"name": "a", "permissions": [READ_ALL, READ_ALL]}, r"registered_model \* is given twice"),
        ({"name": "a", "permissions": [READ_ALL | {"resource": "run", "name": "x"}]}, r"takes only '\*' for run"),
    ],
)
def test_a_wrong_user(value: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_user("users[2]", value)
    assert "hunter2" not in str(caught.value)


def test_direct_grants_are_those_of_the_users_own_role() -> None:
    held = parse_held(
        {
            "id": 7,
            "username": "serving",
            "is_admin": False,
            "roles": [
                {"name": "__user_7__", "permissions": [
                    {"id": 3, "resource_type": "experiment", "resource_pattern": "1", "permission": "READ"}]},
                {"name": "team", "permissions": [
                    {"id": 4, "resource_type": "experiment", "resource_pattern": "*", "permission": "MANAGE"}]},
            ],
        }
    )  # fmt: skip
    assert held.grants == {("experiment", "1"): ("READ", 3)}


CURRENT = {("registered_model", "mine"): "MANAGE", ("registered_model", "x"): "READ", ("experiment", "*"): "MANAGE"}


@pytest.mark.parametrize(
    ("options", "after"),
    [
        ({"permissions": None}, CURRENT),
        ({"permissions": {}}, {("registered_model", "mine"): "MANAGE"}),
        ({"permissions": {}, "purge_owned": True}, {}),
        ({"permissions": {}, "purge_permissions": False}, CURRENT),
        ({"permissions": {("registered_model", "mine"): "READ"}}, {("registered_model", "mine"): "READ"}),
    ],
)
def test_what_is_owned_stays(options: dict[str, Any], after: dict[tuple[str, str], str]) -> None:
    assert permissions_after(User("a", **options), CURRENT) == after
