# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The MLflow image's entry point: secrets from files, never in arguments; settings refused before they hurt."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[3] / "images" / "mlflow" / "entrypoint.py"
SPEC = importlib.util.spec_from_file_location("mlflow_entrypoint", PATH)
assert SPEC is not None
assert SPEC.loader is not None
entrypoint = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(entrypoint)

URIS = {
    "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://mlflow@db/mlflow",
    "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow",
}


def test_secrets_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("se cret\n")
    found = entrypoint.exported({"PGPASSWORD_FILE": str(tmp_path / "password"), "OTHER_FILE": "/x", "A": "b"})
    assert found == {"PGPASSWORD": "se cret", "OTHER_FILE": "/x", "A": "b"}


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_missing_or_empty_secret_stops_it(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit):
        entrypoint.exported({"PGPASSWORD_FILE": str(path)})
    assert "PGPASSWORD_FILE" in capsys.readouterr().out


def test_no_secret_is_part_of_the_arguments() -> None:
    secrets = {name: f"hidden-{name}" for name in entrypoint.FROM_FILES}
    command, settings = entrypoint.server({**URIS, **secrets})
    assert "hidden" not in " ".join(command)
    assert settings["PGPASSWORD"] == "hidden-PGPASSWORD"
    assert "hidden" not in " ".join(entrypoint.collector({**URIS, **secrets}))


def test_the_server_proxies_artefacts_and_starts_no_job_runner() -> None:
    command, settings = entrypoint.server({**URIS, "MLOPS_WORKERS": "3"})
    assert command[command.index("--workers") + 1] == "3"
    assert settings["_MLFLOW_SERVER_ARTIFACT_ROOT"] == "mlflow-artifacts:/"
    assert settings["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    with pytest.raises(SystemExit):
        entrypoint.server({})


@pytest.mark.parametrize("older_than", ["30d", "12h30m", "1s", "1d2h3m4s"])
def test_ages(older_than: str) -> None:
    assert entrypoint.collector({**URIS, "MLOPS_GC_OLDER_THAN": older_than})[-1] == older_than


@pytest.mark.parametrize("older_than", ["30", "a month", "30d;rm", "1.5.2d", " 30d"])
def test_wrong_ages(older_than: str) -> None:
    with pytest.raises(SystemExit):
        entrypoint.collector({**URIS, "MLOPS_GC_OLDER_THAN": older_than})


class Store:
    """As much of MLflow's store of accounts as is used, in memory."""

    class Thing:
        def __init__(self, **fields: Any) -> None:
            self.__dict__.update(fields)

    def __init__(self) -> None:
        self.users: dict[str, Any] = {}
        self.roles: list[Any] = []
        self.permissions: list[Any] = []
        self.assigned: set[tuple[int, int]] = set()
        self.calls: list[str] = []

    def has_user(self, name: str) -> bool:
        return name in self.users

    def create_user(self, name: str, password: str, is_admin: bool = False) -> None:
        self.calls.append("create_user")
        self.users[name] = self.Thing(id=len(self.users), password=password, is_admin=is_admin)

    def authenticate_user(self, name: str, password: str) -> bool:
        return bool(self.users[name].password == password)

    def update_user(self, name: str, password: str | None = None, is_admin: bool | None = None) -> None:
        self.calls.append("update_user")
        if password is not None:
            self.users[name].password = password
        if is_admin is not None:
            self.users[name].is_admin = is_admin

    def get_user(self, name: str) -> Any:
        return self.users[name]

    def list_roles(self, workspaces: list[str]) -> list[Any]:
        assert workspaces == ["default"]
        return self.roles

    def create_role(self, name: str, workspace: str, description: str) -> Any:
        self.calls.append("create_role")
        self.roles.append(self.Thing(id=len(self.roles), name=name))
        return self.roles[-1]

    def list_role_permissions(self, role: int) -> list[Any]:
        return [p for p in self.permissions if p.role == role]

    def add_role_permission(self, role: int, resource_type: str, pattern: str, permission: str) -> None:
        self.calls.append("add_role_permission")
        fields = {"resource_type": resource_type, "resource_pattern": pattern, "permission": permission}
        self.permissions.append(self.Thing(id=len(self.permissions) + 10, role=role, **fields))

    def update_role_permission(self, number: int, permission: str) -> None:
        self.calls.append("update_role_permission")
        next(p for p in self.permissions if p.id == number).permission = permission

    def remove_role_permission(self, number: int) -> None:
        self.calls.append("remove_role_permission")
        self.permissions = [p for p in self.permissions if p.id != number]

    def list_user_roles(self, user: int) -> list[Any]:
        return [role for role in self.roles if (user, role.id) in self.assigned]

    def assign_role_to_user(self, user: int, role: int) -> None:
        self.calls.append("assign_role_to_user")
        self.assigned.add((user, role))


def test_accounts_are_brought_to_what_is_declared(tmp_path: Path) -> None:
    store = Store()
    password = tmp_path / "password"

    def settle(text: str, permissions: Mapping[str, str]) -> list[str]:
        password.write_text(text)
        store.calls.clear()
        account = {"name": "registrar", "password_file": str(password), "permissions": dict(permissions)}
        entrypoint.settle_account(store, account)
        return list(store.calls)

    made = ["create_user", "create_role", "add_role_permission", "assign_role_to_user"]
    assert settle("one", {"workspace": "USE"}) == made
    assert settle("one", {"workspace": "USE"}) == []
    assert settle("two", {"workspace": "USE"}) == ["update_user"]
    assert settle("two", {"workspace": "MANAGE"}) == ["update_role_permission"]
    assert settle("two", {"experiment": "READ"}) == ["add_role_permission", "remove_role_permission"]
    store.users["registrar"].is_admin = True
    assert settle("two", {"experiment": "READ"}) == ["update_user"]
    assert not store.users["registrar"].is_admin
