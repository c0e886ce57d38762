# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The modules through Ansible: check mode, diff, secrets in the output, errors, what a run costs."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from cluster import ROOT, Cluster, server

SECRET = "not to be seen anywhere"


def play(cluster: Cluster, folder: Path, tasks: list[dict[str, Any]], *options: str) -> tuple[int, str]:
    common = {"target": "kubernetes", "namespace": cluster.namespace, "kubernetes": cluster.options}
    tasks = [{name: {**common, **arguments} for name, arguments in task.items()} for task in tasks]
    tasks = [{**task, "register": f"result_{number}"} for number, task in enumerate(tasks)]
    variables = {"ansible_python_interpreter": sys.executable}
    head = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables}
    book = folder / "play.yml"
    book.write_text(json.dumps([{**head, "tasks": tasks}]))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", *options, book],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def workload(cluster: Cluster, *workloads: dict[str, Any], **more: Any) -> dict[str, Any]:
    options = {"set": "example", "images": cluster.images, "secret_values": {"password": SECRET}, "wait_timeout": 60}
    return {"mlops.onprem.workload": {**options, "workloads": list(workloads), **more}}


def web(**more: Any) -> dict[str, Any]:
    return server(
        secrets=[{"name": "password"}],
        configs=[{"path": "/etc/web.ini", "content": "colour = red\n"}],
        routes=[{"name": "page", "host": "web", "port": "http"}],
        **more,
    )


def test_a_set_comes_and_goes(cluster: Cluster, tmp_path: Path) -> None:
    run = workload(cluster, web())
    code, output = play(cluster, tmp_path, [run], "--check", "--diff")
    assert code == 0 and "changed=1" in output and "colour = red" in output and not cluster.objects()
    code, output = play(cluster, tmp_path, [run], "-vvv", "--diff")
    assert code == 0 and "changed=1" in output, output
    assert SECRET not in output and "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output
    healthy = {"mlops.onprem.workload_info": {"set": "example", "healthy_within": 30}}
    code, output = play(cluster, tmp_path, [run, {"mlops.onprem.workload_info": {}}, healthy], "-v")
    assert code == 0 and "changed=0" in output and "web.localhost" in output, output
    code, output = play(cluster, tmp_path, [run], "--check")
    assert code == 0 and "changed=0" in output

    code, output = play(cluster, tmp_path, [workload(cluster, web(env={"COLOUR": "blue"}))], "--check", "--diff")
    assert code == 0 and "COLOUR" in output and "+" in output
    remove = {"mlops.onprem.workload": {"set": "example", "state": "absent", "remove_volumes": True}}
    code, output = play(cluster, tmp_path, [remove])
    assert code == 0 and "changed=1" in output and not cluster.objects()


def test_failures_tell_why(cluster: Cluster, tmp_path: Path) -> None:
    crash = {**web(), "args": ["sh", "-c", "echo going to crash; exit 3"]}
    code, output = play(cluster, tmp_path, [workload(cluster, crash, server("well"))])
    assert code != 0 and "exited with code 3" in output and "going to crash" in output
    info = {"mlops.onprem.workload_info": {"names": ["web", "none"], "healthy_within": 1}}
    code, output = play(cluster, tmp_path, [info])
    assert code != 0 and "none: there is no such workload" in output and "web: starting (" in output
    assert "going to crash" in output and "Traceback" not in output


def test_bad_input_is_one_message(cluster: Cluster, tmp_path: Path) -> None:
    code, output = play(cluster, tmp_path, [workload(cluster, web(), {"name": "Bad", "zone": "moon"})])
    assert code != 0 and "Bad.image: is required" in output and "Bad.zone: 'moon' is not one of" in output
    cluster.options["context"] = "elsewhere"
    code, output = play(cluster, tmp_path, [workload(cluster, web())])
    assert code != 0 and "has no context 'elsewhere' (known: " in output
    assert "Traceback" not in output and not cluster.objects()


def test_nothing_to_do_costs_little(cluster: Cluster) -> None:
    """In a process of its own, the client's import included."""
    many = [server(f"w{number}", replicas=0, secrets=[{"name": "web_password"}]) for number in range(10)]
    cluster.apply(*many)
    program = [sys.executable, str(Path(__file__).with_name("cluster.py")), cluster.namespace, cluster.kubeconfig]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*program, json.dumps(cluster.images)], input=json.dumps(many).encode(), check=False, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and not done.stdout, done.stderr
    # Of the processor's time: a busy machine's clock says nothing.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
