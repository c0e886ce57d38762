# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The server on PostgreSQL: its migration, its login, its pages, what it tells of itself."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from process import free_port
from stand import ADMIN_PASSWORD, CONFIGURE, DATABASE_PASSWORD, LOGIN, Stand


def test_the_playbook_says_beforehand_what_it_would_make(stand: Stand) -> None:
    done = stand.play(CONFIGURE, "--check", "--diff", verb="configure")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "changed=2" in done.stdout and "Runs that went silent" in done.stdout


def test_the_migration_makes_all_tables_as_the_database_s_owner(server: Stand) -> None:
    owners = server.database.query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'", "prefect")
    assert owners == "prefect"
    assert server.database.query("SELECT count(*) FROM flow_run", "prefect", "prefect", DATABASE_PASSWORD) == "0"


def test_who_has_no_login_gets_nothing_and_the_pages_are_whole(server: Stand) -> None:
    pipelines = server.pipelines()
    pipelines.only_with_a_login()
    pipelines.answers()
    pipelines.pages_are_whole()


def test_the_site_s_own_is_looked_at_beforehand(server: Stand) -> None:
    right = {"address": f"{server.url}/api/", "username": "admin", "password": ADMIN_PASSWORD}
    nowhere = right | {"address": f"http://127.0.0.1:{free_port()}/api"}
    problems = server.problems(right, right | {"password": "wrong"}, nowhere, right | {"address": f"{server.url}/v2"})
    login, away, other = problems
    assert login.startswith("mlops_pipelines_username: ") and "refuses the login of 'admin'" in login
    assert away.startswith("mlops_pipelines_address: ") and "doesn't answer" in away and "refused" in away
    assert other.startswith("mlops_pipelines_address: ") and "is no API of Prefect 3" in other


def test_no_secret_is_seen(server: Stand) -> None:
    seen = [
        server.containers.said("migrate"),
        server.containers.said("server"),
        Path(f"/proc/{server.server_process}/cmdline").read_text(),
        str(server.pipelines().api("GET", "/admin/settings")),
    ]
    for secret in (ADMIN_PASSWORD, DATABASE_PASSWORD):
        assert not [text for text in seen if secret in text]


def test_it_tells_prometheus_of_itself(server: Stand) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10) as answer:
        assert "process_resident_memory_bytes" in answer.read().decode()


def test_it_sends_nothing_to_its_makers(server: Stand) -> None:
    settings = server.pipelines().api("GET", "/admin/settings")
    assert settings["server"]["analytics_enabled"] is False
    assert settings["server"]["database"]["migrate_on_start"] is False
    assert LOGIN not in str(settings)


def test_it_is_nobody_and_may_write_nowhere_but_in_its_scratch(server: Stand) -> None:
    status = Path(f"/proc/{server.server_process}/status").read_text()
    assert "Uid:\t10001\t10001" in status and "CapEff:\t0000000000000000" in status
    mounts = Path(f"/proc/{server.server_process}/mounts").read_text().splitlines()
    root = next(line.split() for line in reversed(mounts) if line.split()[1] == "/")
    assert "ro" in root[3].split(",")
