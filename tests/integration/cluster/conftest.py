# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A bed of three nodes, the role run on it, and a small image to run there."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for place in (ROOT / "tests" / "testbed", ROOT / ".collections", Path(__file__).parent):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from on_bed import busybox, docker, make_bed, play  # noqa: E402 - found only now
from swarm import Bed  # noqa: E402


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """Three nodes without an engine running."""
    yield from make_bed("citest")


@pytest.fixture(scope="session")
def cluster(bed: Bed) -> Bed:
    """The nodes, made one Swarm by the role."""
    done = play(bed, "-vvv")
    assert done.code == 0, done.output[-4000:]
    (bed.directory / "first-run.log").write_text(done.output)
    return bed


@pytest.fixture(scope="session")
def image(cluster: Bed, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with busybox alone, by its id, on every node."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, file in busybox(tmp_path_factory.mktemp("busybox")).items():
            tar.add(file, path)
        for applet in ("sh", "true", "cat", "sleep", "wget", "nc", "httpd", "nslookup", "hostname", "echo", "env"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for directory in ("tmp", "data", "proc", "sys", "dev", "etc"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory in ("tmp", "data") else 0o755
            if directory == "data":
                entry.uid = entry.gid = 10001
            tar.addfile(entry)
    first, *others = cluster.nodes
    made = docker(first, "import", "-", "test:1", input=archive.getvalue()).decode().strip()
    saved = docker(first, "save", "test:1")
    for node in others:
        docker(node, "load", input=saved)
    return made
