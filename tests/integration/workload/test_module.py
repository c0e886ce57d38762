# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The modules through Ansible: their documented examples, check mode, diff, secrets in the output, errors."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import ROOT, Cluster, base_image

pytestmark = pytest.mark.docker
SECRET = "not to be seen anywhere"


def examples(module: str) -> list[dict[str, Any]]:
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
            return list(yaml.safe_load(ast.literal_eval(node.value)))
    raise AssertionError(f"{module} has no EXAMPLES")


def play(cluster: Cluster, folder: Path, tasks: list[dict[str, Any]], *options: str) -> tuple[int, str]:
    variables = {
        "mlops_name": cluster.namespace,
        "mlops_images": {"base": base_image(cluster.engine)},
        "mlops_secret_values": {"store_password": SECRET},
        "ansible_python_interpreter": sys.executable,
    }
    tasks = [{**task, "register": f"result_{number}"} for number, task in enumerate(tasks)]
    book = folder / "play.yml"
    book.write_text(
        json.dumps(
            [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]
        )
    )
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", *options, book],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_examples_run(cluster: Cluster, tmp_path: Path) -> None:
    run, remove = examples("workload")
    show, healthy = examples("workload_info")
    healthy["mlops.onprem.workload_info"]["set"] = "example"
    code, output = play(cluster, tmp_path, [run], "--check", "--diff")
    assert code == 0 and "changed=1" in output and not any(cluster.objects().values())
    code, output = play(cluster, tmp_path, [run], "-vvv", "--diff")
    assert code == 0 and "changed=1" in output, output
    assert SECRET not in output and "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output
    code, output = play(cluster, tmp_path, [run, show, healthy], "-v")
    assert code == 0 and "changed=0" in output and "example.localhost" in output
    code, output = play(cluster, tmp_path, [run], "--check")
    assert code == 0 and "changed=0" in output
    code, output = play(cluster, tmp_path, [remove])
    assert code == 0 and "changed=1" in output and not any(cluster.objects().values())


def test_a_blank_host_in_check_mode(cluster: Cluster, tmp_path: Path) -> None:
    run = examples("workload")[0]
    run["mlops.onprem.workload"] |= {"docker_host": f"unix://{tmp_path}/none.sock", "images": {}, "secret_values": {}}
    code, output = play(cluster, tmp_path, [run], "--check", "--diff")
    assert code == 0 and "changed=1" in output, output
    code, output = play(cluster, tmp_path, [run])
    assert code != 0 and "No Docker engine answers at unix://" in output


def test_bad_input_is_one_message(cluster: Cluster, tmp_path: Path) -> None:
    run = examples("workload")[0]
    run["mlops.onprem.workload"]["workloads"] += [{"name": "Bad", "zone": "moon"}]
    code, output = play(cluster, tmp_path, [run])
    assert code != 0 and "Bad.image: is required" in output and "Bad.zone: 'moon' is not one of" in output
    assert "Traceback" not in output and not any(cluster.objects().values())
