# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The Prefect image's entry point: secrets from files, never in arguments; nothing starts without a login."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[3] / "images" / "prefect" / "entrypoint.py"
SPEC = importlib.util.spec_from_file_location("prefect_entrypoint", PATH)
assert SPEC is not None
assert SPEC.loader is not None
entrypoint = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(entrypoint)

LOGIN = {"PREFECT_SERVER_API_AUTH_STRING": "admin:hidden", "PREFECT_API_AUTH_STRING": "admin:hidden"}


def test_secrets_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "auth").write_text("admin:se cret\n")
    found = entrypoint.exported({"PREFECT_API_AUTH_STRING_FILE": str(tmp_path / "auth"), "OTHER_FILE": "/x"})
    assert found == {"PREFECT_API_AUTH_STRING": "admin:se cret", "OTHER_FILE": "/x"}


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
    api = {"PREFECT_API_URL": "http://prefect:4200/api"}
    commands = [entrypoint.server(LOGIN), entrypoint.migration(), entrypoint.worker(LOGIN | api, "default")]
    assert "hidden" not in str(commands)


def test_a_server_without_a_login_does_not_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        entrypoint.server({})
    assert "PREFECT_SERVER_API_AUTH_STRING must be set" in capsys.readouterr().out


def test_one_server_of_several_meets_the_others_and_leaves_the_background_to_one() -> None:
    assert entrypoint.shared(LOGIN) == LOGIN and "--no-services" not in entrypoint.server(LOGIN)
    several = LOGIN | {"VALKEY": "prefect-valkey:6379", "VALKEY_PASSWORD": "se/cret"}
    assert "--no-services" in entrypoint.server(several)
    found = entrypoint.shared(several)
    assert found["PREFECT_SERVER_DOCKET_URL"] == "redis://:se%2Fcret@prefect-valkey:6379/0"
    assert found["PREFECT_REDIS_MESSAGING_URL"] == found["PREFECT_SERVER_DOCKET_URL"]
    assert found["PREFECT_MESSAGING_BROKER"] == "prefect_redis.messaging"
    assert "cret" not in str(entrypoint.server(several))
    with pytest.raises(SystemExit):
        entrypoint.shared(LOGIN | {"VALKEY": "prefect-valkey:6379"})


def test_a_worker_has_a_server_a_limit_and_a_health_check() -> None:
    given = LOGIN | {"PREFECT_API_URL": "http://prefect:4200/api", "MLOPS_WORKER_RUNS": "3"}
    command = entrypoint.worker(given, "a pool")
    assert command[command.index("--pool") + 1] == "a pool" and command[command.index("--limit") + 1] == "3"
    assert "--with-healthcheck" in command and command[command.index("--type") + 1] == "process"
    command = entrypoint.worker(given | {"MLOPS_WORKER_TYPE": "mlops-agent"}, "a pool")
    assert command[command.index("--type") + 1] == "mlops-agent"
    with pytest.raises(SystemExit):
        entrypoint.worker(LOGIN, "a pool")


def test_a_run_knows_which_one_it_is() -> None:
    given = LOGIN | {"PREFECT_API_URL": "http://prefect:4200/api", "PREFECT__FLOW_RUN_ID": "0a1b"}
    assert entrypoint.flow_run(given) == ["flow-run", "execute"]
    with pytest.raises(SystemExit):
        entrypoint.flow_run(LOGIN | {"PREFECT_API_URL": "http://prefect:4200/api"})


def test_a_run_with_a_command_of_its_own_has_the_secrets_too(tmp_path: Path) -> None:
    (tmp_path / "auth").write_text("admin:hidden\n")
    command = [sys.executable, PATH, "run", "sh", "-c", 'test "$PREFECT_API_AUTH_STRING" = admin:hidden && exit 7']
    env = {"PATH": os.environ["PATH"], "PREFECT_API_AUTH_STRING_FILE": str(tmp_path / "auth")}
    assert subprocess.run(command, env=env, check=False).returncode == 7
