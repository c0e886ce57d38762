# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of MLflow's basic authentication and what each may do; all of a server in few requests.

Every request costs the server a password hash, a few tenths of a second. So all users are read at once, and what can be
asked side by side is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .._errors import InputError, RequestError
from .client import MlflowClient

T = TypeVar("T")
R = TypeVar("R")

Grants = dict[tuple[str, str], str]
WILDCARD = "*"
MINIMUM = 12
HIDDEN = "********"
# Sub-resources have one permission for all of a kind; MLflow refuses single names.
WILDCARD_ONLY = frozenset(
    {
        "run",
        "trace",
        "assessment",
        "logged_model",
        "review_queue",
        "registered_model_version",
        "prompt_version",
        "scorer_version",
    }
)
RESOURCES = ("registered_model", "experiment", "prompt", "scorer", *sorted(WILDCARD_ONLY))
PERMISSIONS = ("READ", "USE", "EDIT", "MANAGE", "DENY")


@dataclass(frozen=True)
class User:
    """A user as declared; ``permissions`` None leaves them as they are. Experiments go by name."""

    name: str
    present: bool = True
    password: str | None = field(default=None, repr=False)
    update_password: bool = True
    admin: bool | None = None
    permissions: Grants | None = None
    purge_permissions: bool = True
    purge_owned: bool = False


@dataclass(frozen=True)
class Held:
    """A user as the server has it; ``grants`` are those given to the user itself, by resource type and id."""

    name: str
    id: int
    admin: bool
    grants: dict[tuple[str, str], tuple[str, int]]

    @property
    def permissions(self) -> Grants:
        return {key: grant[0] for key, grant in self.grants.items()}


def parse_user(option: str, value: Mapping[str, Any]) -> User:
    """A user as the module's option has it.

    :raises InputError: for what MLflow would refuse.
    """
    name, password = str(value["name"]), value.get("password")
    if not name:
        raise InputError(f"{option}.name: must not be empty")
    if ":" in name:
        raise InputError(f"{option}.name: {name!r} can't have a colon, basic authentication ends the name there")
    if password is not None and len(password) < MINIMUM:
        raise InputError(
            f"{option}.password: the password of {name} has fewer than {MINIMUM} characters, MLflow's minimum"
        )
    permissions: Grants | None = None
    if value.get("permissions") is not None:
        permissions = {}
        for number, one in enumerate(value["permissions"]):
            key = (str(one["resource"]), str(one["name"]))
            if key[0] in WILDCARD_ONLY and key[1] != WILDCARD:
                raise InputError(
                    f"{option}.permissions[{number}].name: MLflow takes only '*' for {key[0]}, not {key[1]!r}"
                )
            if key in permissions:
                raise InputError(f"{option}.permissions[{number}]: {key[0]} {key[1]} is given twice")
            permissions[key] = str(one["permission"])
    return User(
        name,
        value.get("state", "present") == "present",
        password,
        value.get("update_password", "always") == "always",
        value.get("admin"),
        permissions,
        bool(value.get("purge_permissions", True)),
        bool(value.get("purge_owned", False)),
    )


def parse_held(value: Mapping[str, Any]) -> Held:
    """A user as the server's list has it. Direct grants are in a role of the user's own, ``__user_<id>__``."""
    own = f"__user_{value['id']}__"
    grants = {
        (str(one["resource_type"]), str(one["resource_pattern"])): (str(one["permission"]), int(one["id"]))
        for role in value.get("roles") or []
        if role.get("name") == own
        for one in role.get("permissions") or []
    }
    return Held(str(value["username"]), int(value["id"]), bool(value.get("is_admin")), grants)


def permissions_after(wanted: User, current: Grants) -> Grants:
    """What a user's own permissions become.

    Whoever creates a registered model or an experiment gets MANAGE on it from the server: those stay, unless the
    user is declared otherwise.
    """
    if wanted.permissions is None:
        return dict(current)
    if not wanted.purge_permissions:
        return dict(current) | wanted.permissions
    owned = {
        key: permission
        for key, permission in current.items()
        if permission == "MANAGE" and key[1] != WILDCARD and not wanted.purge_owned
    }
    return owned | wanted.permissions


@dataclass(frozen=True)
class UserOutcome:
    """What became, or would become, of one user."""

    name: str
    before: dict[str, Any]
    after: dict[str, Any]
    password_changed: bool

    @property
    def changed(self) -> bool:
        return self.before != self.after or self.password_changed


class Users:
    """The users of one server.

    :param admin: a client of an administrator.
    :param as_user: makes a client of any user and password, to see whether a password is the right one.
    """

    def __init__(self, admin: MlflowClient, as_user: Callable[[str, str], MlflowClient], *, check: bool) -> None:
        self._admin = admin
        self._as_user = as_user
        self._check = check
        self._experiments: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def converge(self, users: list[User]) -> list[UserOutcome]:
        """Make the users as they are declared, all of them."""
        self._find_experiments(users)
        held = {user.name: user for user in map(parse_held, self._admin.list_users())}
        to_ask = [
            user for user in users if user.present and user.name in held and user.password and user.update_password
        ]
        wrong = {
            user.name
            for user, right in zip(to_ask, _side_by_side(self._has_password, to_ask), strict=True)
            if not right
        }
        return [self._user(user, held.get(user.name), user.name in wrong) for user in users]

    def all(self) -> list[dict[str, Any]]:
        """All users, without their passwords."""
        held = [parse_held(user) for user in self._admin.list_users()]
        ids = {key[1] for user in held for key in user.grants if key[0] == "experiment" and key[1] != WILDCARD}
        if ids:
            self._names = self._admin.experiment_names()
        return [self._facts(user.name, user.admin, user.permissions) for user in held]

    def _user(self, wanted: User, held: Held | None, wrong_password: bool) -> UserOutcome:
        if not wanted.present:
            if held is not None and not self._check:
                self._admin.delete_user(wanted.name)
            before = self._facts(held.name, held.admin, held.permissions) if held else {}
            return UserOutcome(wanted.name, before, {}, False)
        if held is None and wanted.password is None:
            raise InputError(f"users: {wanted.name} doesn't exist yet, so it needs a password")
        goal = self._by_id(wanted)
        current = held.permissions if held else {}
        after = permissions_after(goal, current)
        is_admin = held.admin if held else False
        admin = is_admin if wanted.admin is None else wanted.admin
        before = self._facts(wanted.name, is_admin, current) if held else {}
        outcome = UserOutcome(
            wanted.name, before, self._facts(wanted.name, admin, after), wrong_password or held is None
        )
        if outcome.changed and not self._check:
            self._write(wanted, held, wrong_password, admin, after)
        return outcome

    def _write(self, wanted: User, held: Held | None, wrong_password: bool, admin: bool, after: Grants) -> None:
        password = wanted.password or ""
        if held is None:
            self._admin.create_user(wanted.name, password)
        elif wrong_password:
            self._admin.update_password(wanted.name, password)
        if admin != (held.admin if held else False):
            self._admin.update_admin(wanted.name, admin)
        grants = held.grants if held else {}
        # What is taken away goes first: a user is never wider than before or after.
        for key in grants:
            if key not in after:
                self._admin.revoke(wanted.name, *key)
        for key, permission in after.items():
            if key not in grants:
                self._admin.grant(wanted.name, *key, permission)
            elif grants[key][0] != permission:
                self._admin.change_grant(grants[key][1], permission)

    def _has_password(self, user: User) -> bool:
        client = self._as_user(user.name, user.password or "")
        try:
            client.current_user()
        except RequestError as error:
            if error.status == 401:
                return False
            raise
        finally:
            client.http.close()
        return True

    def _find_experiments(self, users: list[User]) -> None:
        names = sorted(
            {
                key[1]
                for user in users
                if user.present
                for key in user.permissions or {}
                if key[0] == "experiment" and key[1] != WILDCARD
            }
        )
        for name, found in zip(names, _side_by_side(self._admin.find_experiment, names), strict=True):
            if found is None:
                raise InputError(f"users: there is no experiment {name} to give a permission on; create it first")
            self._experiments[name] = str(found["experiment_id"])
        self._names = {number: name for name, number in self._experiments.items()}

    def _by_id(self, user: User) -> User:
        """The server's grants on experiments go by id."""
        if user.permissions is None:
            return user
        permissions = {
            (kind, self._experiments.get(name, name) if kind == "experiment" else name): permission
            for (kind, name), permission in user.permissions.items()
        }
        return User(
            user.name,
            user.present,
            user.password,
            user.update_password,
            user.admin,
            permissions,
            user.purge_permissions,
            user.purge_owned,
        )

    def _facts(self, name: str, admin: bool, permissions: Grants) -> dict[str, Any]:
        return facts(name, admin, permissions, self._names)


def facts(name: str, admin: bool, permissions: Grants, experiments: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A user in the collection's form.

    :param experiments: names of experiments by id.
    """
    shown = [
        {
            "resource": kind,
            "name": (experiments or {}).get(key, key) if kind == "experiment" else key,
            "permission": permission,
        }
        for (kind, key), permission in permissions.items()
    ]
    shown.sort(key=lambda one: (one["resource"], one["name"]))
    return {"name": name, "admin": admin, "permissions": shown}


def _side_by_side(call: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(call, items))
