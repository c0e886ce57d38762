# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Playbooks run on a bed's nodes, and commands on a node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bed_images import busybox_files
from swarm import Bed, BedError, Node

ROOT = Path(__file__).resolve().parents[3]
BESIDE_OTHERS = 4


@dataclass
class Run:
    """What ansible-playbook said."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        return sum(int(number) for number in re.findall(r"changed=(\d+)", self.output))


def play(bed: Bed, *arguments: str) -> Run:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "COLUMNS": "1000",
    }
    playbook = Path(__file__).with_name("cluster.yml")
    command = ["ansible-playbook", "-i", str(bed.directory / "inventory"), str(playbook), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1200
    )
    return Run(done.returncode, done.stdout)


def eventually(seconds: float, condition: Callable[[], Any], what: str = "") -> Any:
    """`seconds`: on a quiet machine; other suites may run beside this one."""
    deadline = time.monotonic() + BESIDE_OTHERS * seconds
    value: Any = None
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
        except (BedError, AssertionError, OSError) as error:
            value = error
        time.sleep(0.3)
    raise AssertionError(f"not within {BESIDE_OTHERS * seconds:g} s: {what or condition}; last: {value!r}")


def engine_process(node: Node) -> str:
    """The engine's process with its start time."""
    script = "read -r pid </run/docker.pid; cut -d' ' -f1,22 /proc/$pid/stat"
    return subprocess.run(node.enter("sh", "-c", script), text=True, capture_output=True, check=True).stdout.strip()


def on(node: Node, *command: str, check: bool = True) -> str:
    done = subprocess.run(node.enter(*command), text=True, capture_output=True, timeout=120)
    if check and done.returncode:
        raise AssertionError(f"{node.name}: {command}: {done.stderr}")
    return done.stdout.strip()


def make_bed(name: str, **options: Any) -> Iterator[Bed]:
    try:
        Bed(name).down()
        bed = Bed(name, **options)
        bed.up(bare=True)
    except BedError as error:
        pytest.skip(str(error))
    try:
        yield bed
    finally:
        bed.down()


def docker(node: Node, *arguments: str, input: bytes | None = None) -> bytes:
    done = subprocess.run(node.enter("docker", *arguments), input=input, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def busybox(directory: Path) -> dict[str, Path]:
    """The files of an image with busybox alone, by their paths in it."""
    try:
        return busybox_files(directory)
    except BedError as error:
        pytest.skip(str(error))
