# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Registered models, users, and the examples of all modules as documented."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow_server import ADMIN, PASSWORD, ROOT, Call, Server


def test_a_registered_model(server: Server, call: Call) -> None:
    options: dict[str, Any] = {
        "name": "it's a model",
        "description": "one",
        "tags": {"a": 1},
        "spec": {"b": 2, "a": [1]},
    }
    would = call("mlflow_registered_model", check=True, **options)
    assert would["changed"] and call("mlflow_registered_model_info", name=options["name"])["registered_models"] == []
    made = call("mlflow_registered_model", **options)
    assert made["diff"] == would["diff"] and made["diff"]["before"] == {}
    assert made["registered_model"]["tags"] == {"a": "1", "mlops.spec": '{"a":[1],"b":2}'}
    for check in (True, False):
        assert not call("mlflow_registered_model", check=check, **options)["changed"]
    # The same declaration in another writing is the same.
    tag = {"name": options["name"], "key": "mlops.spec", "value": '{"b": 2, "a": [1]}'}
    server.api("POST", "registered-models/set-tag", tag)
    assert not call("mlflow_registered_model", **options)["changed"]
    changed = call(
        "mlflow_registered_model", name=options["name"], tags={"c": True}, purge_tags=True, description="two"
    )
    assert changed["registered_model"]["tags"] == {"c": "true", "mlops.spec": tag["value"]}
    assert (changed["diff"]["before"]["description"], changed["diff"]["after"]["description"]) == ("one", "two")
    (info,) = call("mlflow_registered_model_info", name=options["name"])["registered_models"]
    assert info == changed["registered_model"]
    assert options["name"] in [one["name"] for one in call("mlflow_registered_model_info")["registered_models"]]
    for check in (True, False):
        assert call("mlflow_registered_model", check=check, name=options["name"], state="absent")["changed"]
    assert not call("mlflow_registered_model", name=options["name"], state="absent")["changed"]


def test_aliases_of_a_registered_model(server: Server, call: Call) -> None:
    call("mlflow_registered_model", name="named")
    for number in (1, 2):
        call("mlflow_model_version", name="named", source=f"s3://bucket/{number}")
    options: dict[str, Any] = {"name": "named", "aliases": {"champion": 1}}
    assert call("mlflow_registered_model", check=True, **options)["registered_model"]["aliases"] == {"champion": "1"}
    assert call("mlflow_registered_model", **options)["registered_model"]["aliases"] == {"champion": "1"}
    assert not call("mlflow_registered_model", **options)["changed"]
    server.api("POST", "registered-models/alias", {"name": "named", "alias": "champion", "version": "2"})
    assert not call("mlflow_registered_model", **options)["changed"]
    server.api("DELETE", "registered-models/alias", {"name": "named", "alias": "champion"})
    assert not call("mlflow_registered_model", **options)["changed"]
    enforced = call("mlflow_registered_model", **options, aliases_mode="enforce")
    assert enforced["changed"] and enforced["registered_model"]["aliases"] == {"champion": "1"}
    none = call("mlflow_registered_model", name="named", aliases_mode="enforce", purge_aliases=True)
    assert none["changed"] and none["registered_model"]["aliases"] == {}
    for aliases, message in (
        ({"champion": 9}, "there is no version 9 of named"),
        ({"v1": 1}, "'v1' can't be an alias"),
    ):
        failed = call("mlflow_registered_model", name="named", aliases=aliases)
        assert failed["failed"] and message in failed["msg"]


def can(server: Server, user: str, password: str, code: str) -> bool:
    try:
        server.python(code, user=user, password=password)
    except AssertionError as error:
        assert "403" in str(error) or "Permission denied" in str(error), error
        return False
    return True


def test_users_and_what_they_may(server: Server, call: Call, tiny: Path) -> None:
    call("mlflow_model_version", name="secret", path=str(tiny), experiment="vault")
    read = {"resource": "registered_model", "name": "secret", "permission": "READ"}
    users: list[dict[str, Any]] = [
        {"name": "ann", "password": "anns password", "permissions": [read]},
        {"name": "bob", "password": "bobs password", "permissions": []},
    ]
    would = call("mlflow_user", check=True, users=users)
    assert would["changed_users"] == ["ann", "bob"]
    made = call("mlflow_user", users=users)
    assert made["diff"] == would["diff"] and made["diff"]["before"] == {"ann": {}, "bob": {}}
    assert "anns password" not in json.dumps(made["diff"])
    for check in (True, False):
        assert not call("mlflow_user", check=check, users=users)["changed"]
    get = "import mlflow; mlflow.MlflowClient().get_registered_model('secret')"
    tag = "import mlflow; mlflow.MlflowClient().set_registered_model_tag('secret', 'a', 'b')"
    assert can(server, "ann", "anns password", get) and not can(server, "bob", "bobs password", get)
    assert not can(server, "ann", "anns password", tag)
    # What bob creates is bob's, and stays so.
    call("mlflow_registered_model", name="bobs", username="bob", password="bobs password")
    assert not call("mlflow_user", users=users)["changed"]
    # More, less, and another password.
    users[0]["permissions"] = [
        read | {"permission": "EDIT"},
        {"resource": "experiment", "name": "vault", "permission": "READ"},
    ]
    users[0]["password"] = "anns new password"
    users[1]["permissions"] = [read]
    changed = call("mlflow_user", users=users)
    assert changed["changed_users"] == ["ann", "bob"]
    assert changed["diff"]["after"]["ann"]["password"] == "******** (changed)"
    assert "changed" not in changed["diff"]["after"]["bob"]["password"]
    assert can(server, "ann", "anns new password", tag)
    listed = {user["name"]: user for user in call("mlflow_user_info")["users"]}
    assert {"resource": "experiment", "name": "vault", "permission": "READ"} in listed["ann"]["permissions"]
    assert not call("mlflow_user", users=users)["changed"]
    users[1] |= {"permissions": [], "purge_owned": True}
    assert call("mlflow_user", users=users)["changed_users"] == ["bob"]
    assert call("mlflow_user_info", name="bob")["users"][0]["permissions"] == []
    gone = [{"name": name, "state": "absent"} for name in ("ann", "bob", "never")]
    for check in (True, False):
        assert call("mlflow_user", check=check, users=gone)["changed_users"] == ["ann", "bob"]
    assert not call("mlflow_user", users=gone)["changed"]


def test_the_administrators_own_password(server: Server, call: Call) -> None:
    chief = {"name": "chief", "password": "chiefs password", "admin": True}
    assert call("mlflow_user", users=[chief])["users"] == [{"name": "chief", "admin": True, "permissions": []}]
    rotate: dict[str, Any] = {"username": "chief", "password": "chiefs next password", "users": []}
    assert call("mlflow_user", **rotate)["failed"]
    rotate["previous_password"] = "chiefs password"
    for check in (True, False):
        rotated = call("mlflow_user", check=check, **rotate)
        assert rotated["changed_users"] == ["chief"] and "next" not in json.dumps(rotated["diff"])
    assert not call("mlflow_user", **rotate)["changed"]
    wrong = call("mlflow_user", **(rotate | {"password": "x" * 12, "previous_password": "y" * 12}))
    assert wrong["failed"] and "HTTP 401" in wrong["msg"]
    assert call("mlflow_user", users=[{"name": "chief", "admin": False}])["changed"]
    call("mlflow_user", users=[{"name": "chief", "state": "absent"}])


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([{"name": "eve"}], "users: eve doesn't exist yet, so it needs a password"),
        ([{"name": "eve", "password": "short"}], "users[0].password: the password of eve has fewer than 12 characters"),
        ([{"name": ADMIN, "state": "absent"}], "can't remove itself"),
        ([{"name": "eve", "password": "x" * 12}] * 2, "eve is given more than once"),
        (
            [{"name": "eve", "password": "x" * 12,
              "permissions": [{"resource": "experiment", "name": "none", "permission": "READ"}]}],
            "there is no experiment none",
        ),
    ],
)  # fmt: skip
def test_wrong_users(server: Server, call: Call, users: list[dict[str, Any]], message: str) -> None:
    failed = call("mlflow_user", users=users)
    assert failed["failed"] and message in failed["msg"], failed
    with pytest.raises(urllib.error.HTTPError):
        server.api("GET", "users/get?username=eve")


ORDER = [
    "mlflow_user",
    "mlflow_user_info",
    "mlflow_registered_model",
    "mlflow_model_version",
    "mlflow_model_version_info",
    "mlflow_registered_model_info",
]


def test_the_examples_run_as_documented(server: Server, trained: Path, tmp_path: Path) -> None:
    """In the order that makes sense: what needs a version comes after it, what takes things away comes last."""
    tasks: list[dict[str, Any]] = []
    late: list[dict[str, Any]] = []
    for name in ORDER:
        module = importlib.import_module(f"ansible_collections.mlops.onprem.plugins.modules.{name}")
        text = module.EXAMPLES.replace("http://mlflow.localhost", f"http://mlflow.localhost:{server.port}")
        for task in yaml.safe_load(text.replace("/srv/models/phishing", str(trained))):
            options = task[f"mlops.onprem.{name}"]
            waits = options.get("state") == "absent" or "aliases_mode" in options or "previous_password" in options
            (late if waits else tasks).append(task)
    late.sort(key=lambda task: "previous_password" in str(task))
    rotate_back = {
        "mlops.onprem.mlflow_user": {
            "tracking_uri": server.uri,
            "username": ADMIN,
            "password": "{{ mlflow_admin_password }}",
            "previous_password": "{{ mlflow_admin_password_next }}",
            "users": [],
        }
    }
    late.sort(key=lambda task: "'state': 'absent'" in str(task) and "'path'" not in str(task))
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": sys.executable,
            "mlflow_admin_password": PASSWORD,
            "mlflow_admin_password_next": "the next admin password",
            "mlflow_registrar_password": "registrars password",
            "mlflow_serving_password": "servings password",
        },
        "tasks": [*tasks, *late, rotate_back],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", "--diff", str(tmp_path / "play.yml")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=" in done.stdout and "password for" not in done.stdout
    for secret in ("the next admin password", "registrars password", "servings password", PASSWORD):
        assert secret not in done.stdout + done.stderr
    assert "phishing" not in server.state()["registered_models"]
