# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The provider `external`: a server of the site's own is asked before anything is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus as server
import pytest
from ansible_collections.mlops.onprem.plugins.filter.prometheus import prometheus_web_config

ROOT = Path(__file__).resolve().parents[3]
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact: {mlops_secrets_known: "{{ known }}"}
    - ansible.builtin.include_role: {name: mlops.onprem.prometheus, tasks_from: preflight}
    - ansible.builtin.copy: {content: "{{ mlops_problems | default([]) | to_json }}", dest: "{{ out }}", mode: "0600"}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Prometheus]:
    users = prometheus_web_config({"mlops": "the-password"}, "salt")
    folder = tmp_path_factory.mktemp("external")
    with server.Prometheus.started(folder, {}, users=users, login=("mlops", "the-password")) as found:
        yield found


def problems(folder: Path, **variables: Any) -> list[str]:
    (folder / "play.yml").write_text(PLAY)
    given = {"out": str(folder / "out.json"), "mlops_metrics_provider": "external", "known": {}, **variables}
    (folder / "vars.json").write_text(json.dumps({**given, "ansible_python_interpreter": sys.executable}))
    ansible = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local"]
    done = subprocess.run(
        [*ansible, "-e", f"@{folder / 'vars.json'}", folder / "play.yml"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return list(json.loads((folder / "out.json").read_text()))


def test_one_that_answers_is_fine(own: server.Prometheus, tmp_path: Path) -> None:
    known = {"prometheus_platform_password": "the-password"}
    assert problems(tmp_path, mlops_metrics_address=own.url, mlops_metrics_username="mlops", known=known) == []


def test_a_refused_login_is_named(own: server.Prometheus, tmp_path: Path) -> None:
    known = {"prometheus_platform_password": "another"}
    [problem] = problems(tmp_path, mlops_metrics_address=own.url, mlops_metrics_username="mlops", known=known)
    assert problem.startswith("mlops_metrics_username: ") and "another" not in problem


def test_nobody_there_is_named(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, mlops_metrics_address=f"http://127.0.0.1:{server.free_port()}")
    assert problem.startswith("mlops_metrics_address: ") and "refused" in problem


def test_something_else_there_is_named(site: Any, tmp_path: Path) -> None:
    [problem] = problems(tmp_path, mlops_metrics_address=site.url)
    assert problem.startswith("mlops_metrics_address: ")
