# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A host with nothing but Debian's smallest system and Python: Docker, the modules' environment and a Swarm of one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from on_bed import make_bed, on, play
from swarm import Bed

BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    if os.geteuid() or not shutil.which("mmdebstrap"):
        pytest.skip("needs root and mmdebstrap")
    root = tmp_path_factory.mktemp("blank") / "root"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,ca-certificates", "bookworm", str(root)]
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        pytest.skip(f"mmdebstrap: {done.stderr.strip()[-300:]}")
    try:
        yield from make_bed("ciblank", nodes=1, root=root)
    finally:
        shutil.rmtree(root)


def written(bed: Bed) -> set[str]:
    upper = bed.nodes[0].directory / "layers" / "root" / "upper"
    return {str(path.relative_to(upper)) for path in upper.rglob("*") if path.is_file()}


def test_check_mode_then_from_nothing_to_a_swarm_and_again(blank: Bed) -> None:
    node = blank.nodes[0]
    arguments = ("-e", f"mlops_ca_bundle={BUNDLE}") if BUNDLE.exists() else ()
    before = written(blank)
    done = play(blank, "--check", "--diff", *arguments)
    assert done.code == 0, done.output
    assert "installed: true" in done.output
    assert written(blank) == before

    done = play(blank, *arguments)
    assert done.code == 0, done.output
    assert node.swarm()["ControlAvailable"]
    script = "import docker; print(docker.from_env().info()['Swarm']['LocalNodeState'])"
    assert on(node, "/opt/mlops/venv/bin/python", "-c", script) == "active"
    assert "usr/sbin/policy-rc.d" not in written(blank)

    for more in ((), ("--check",)):
        again = play(blank, *arguments, *more)
        assert (again.code, again.changed) == (0, 0), again.output
    # A Swarm of one host is nobody else's business.
    listening = on(node, "python3", "-c", "print([l.split()[1] for l in open('/proc/net/tcp')])")
    assert "0100007F:0949" in listening
