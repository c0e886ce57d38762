# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The database's entry point: killed at any moment it converges, one server a volume, the password file counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_site import Site, docker, lend, our_table

NAME = "mlops-it-postgresql"


class Server:
    def __init__(self, image: str, folder: Path) -> None:
        self.image = image
        self.secret = folder / "password"
        self.secret.write_text('first\'s \\ "one"')

    def start(self, *arguments: str, name: str = NAME) -> None:
        self.secret.chmod(0o444)
        docker(
            "run", "--detach", "--name", name, "--read-only", "--cap-drop", "ALL", "--memory", "512m",
            "--mount", "type=tmpfs,destination=/tmp,tmpfs-mode=1777",
            "--mount", "type=tmpfs,destination=/run/postgresql,tmpfs-mode=1777",
            "--volume", f"{NAME}:/var/lib/postgresql/data", "--volume", f"{self.secret}:/run/secrets/password:ro",
            "--env", "POSTGRES_PASSWORD_FILE=/run/secrets/password", "--env", "POSTGRES_DB=app", self.image, *arguments,
        )  # fmt: skip

    def query(self, text: str, password: str | None = None) -> str:
        """As administrator from within, or over the network with a password."""
        if password is None:
            return docker("exec", NAME, "psql", "-h", "/run/postgresql", "-U", "postgres", "-Atc", text, check=False)
        return docker(
            "exec", "--env", f"PGPASSWORD={password}", NAME, "psql", "-h", "127.0.0.1", "-U", "postgres", "-Atc", text,
            check=False,
        )  # fmt: skip

    def wait(self) -> None:
        end = time.monotonic() + 60
        while self.query("select 1") != "1":
            assert time.monotonic() < end, docker("logs", NAME)
            time.sleep(0.3)


@pytest.fixture
def server(site: Site, tmp_path: Path) -> Iterator[Server]:
    lend(site.address, "postgresql")
    site.run(images_wanted=["postgresql"])
    remove()
    yield Server(f"{site.address}/postgresql:{our_table().key('postgresql')}", tmp_path)
    remove()


def remove() -> None:
    docker("rm", "--force", NAME, f"{NAME}-2", check=False)
    docker("volume", "rm", NAME, check=False)


def test_first_start_settings_and_stop(server: Server) -> None:
    server.start("postgres", "-c", "shared_buffers=24MB")
    server.wait()
    assert server.query("show data_checksums") == "on"
    assert server.query("show shared_buffers") == "24MB"
    assert server.query("show password_encryption") == "scram-sha-256"
    assert "app" in server.query("select datname from pg_database").split()
    assert server.query("select 1", password="wrong") == ""
    assert server.query("select 1", password='first\'s \\ "one"') == "1"
    assert "first's" not in docker("logs", NAME) + docker("inspect", NAME)
    started = time.monotonic()
    docker("exec", "--detach", NAME, "psql", "-h", "/run/postgresql", "-U", "postgres", "-c", "select pg_sleep(60)")
    docker("stop", "--time", "20", NAME)
    assert time.monotonic() - started < 10
    assert docker("inspect", "--format", "{{.State.ExitCode}}", NAME) == "0"


def test_another_command_is_run_as_it_is(server: Server) -> None:
    assert "psql (PostgreSQL) 15" in docker("run", "--rm", server.image, "psql", "--version")


def test_a_new_password_counts_from_the_next_start(server: Server) -> None:
    server.start()
    server.wait()
    server.secret.chmod(0o644)
    server.secret.write_text("second")
    docker("restart", NAME)
    server.wait()
    assert server.query("select 1", password="second") == "1"


def test_killed_while_it_serves_the_data_is_there(server: Server) -> None:
    server.start()
    server.wait()
    server.query("create table t (x int); insert into t select generate_series(1, 1000)")
    docker("kill", NAME)
    docker("start", NAME)
    server.wait()
    assert server.query("select count(*) from t") == "1000"


@pytest.mark.parametrize("after", [0.2, 0.7, 1.2, 1.8, 2.5])
def test_killed_during_the_first_start_the_next_one_completes_it(server: Server, after: float) -> None:
    server.start()
    time.sleep(after)
    docker("kill", NAME, check=False)
    docker("start", NAME)
    server.wait()
    assert "app" in server.query("select datname from pg_database").split()


def test_one_server_a_volume(server: Server) -> None:
    server.start()
    server.wait()
    server.start(name=f"{NAME}-2")
    time.sleep(3)
    assert "ready to accept connections" not in docker("logs", f"{NAME}-2")
    docker("rm", "--force", NAME)
    end = time.monotonic() + 30
    while docker("exec", f"{NAME}-2", "pg_isready", "-h", "127.0.0.1", check=False).find("accepting") < 0:
        assert time.monotonic() < end, docker("logs", f"{NAME}-2")
        time.sleep(0.5)


def test_what_is_missing_is_said(server: Server) -> None:
    said = docker("run", "--rm", "--entrypoint", "sh", server.image, "-c", "postgresql-entrypoint 2>&1 || true")
    assert "POSTGRES_PASSWORD_FILE" in said
