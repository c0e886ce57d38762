# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""No secret of the site shows in what the cluster tells, in arguments, logs, -vvv output or an image."""

from __future__ import annotations

import base64
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from installed import Platform
from swarm_site import SwarmSite


@pytest.fixture(scope="module")
def needles(platform: Platform) -> dict[bytes, str]:
    """What must not be found -> the secret's name: each value of eight characters or more, as it is and in base64."""
    found = {}
    for name, value in platform.secrets.items():
        if len(value) >= 8:
            found[value.encode()] = name
            found[base64.b64encode(value.encode()).rstrip(b"=")] = f"{name} (base64)"
    assert len(found) >= 10
    return found


def leaks(haystack: bytes, needles: dict[bytes, str]) -> list[str]:
    return sorted({name for needle, name in needles.items() if needle in haystack})


def test_the_search_finds_what_is_there(needles: dict[bytes, str]) -> None:
    needle, name = next(iter(needles.items()))
    assert leaks(b"x" + needle + b"y", needles) == [name]


def test_objects(platform: Platform, needles: dict[bytes, str]) -> None:
    seen = 0
    for name, found in platform.site.objects():
        text = found if isinstance(found, str) else json.dumps(found)
        assert leaks(text.encode(), needles) == [], name
        seen += 1
    assert seen >= 20


def test_arguments(needles: dict[bytes, str]) -> None:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found = leaks(path.read_bytes(), needles)
        except (FileNotFoundError, ProcessLookupError):
            continue
        assert found == [], path.read_bytes().split(b"\0")[0]


def test_logs(platform: Platform, needles: dict[bytes, str]) -> None:
    for name, log in platform.site.logs():
        assert leaks(log, needles) == [], name


def test_output_at_vvv(platform: Platform, needles: dict[bytes, str]) -> None:
    done = platform.playbook("-vvv", "--diff")
    assert done.code == 0, done.end
    assert leaks(done.output.encode(), needles) == []


def chunks(stream: IO[bytes], overlap: int) -> Iterator[bytes]:
    tail = b""
    while block := stream.read(1 << 22):
        yield tail + block
        tail = block[-overlap:]


def test_images(swarm: SwarmSite, needles: dict[bytes, str], tmp_path: Path) -> None:
    overlap = max(map(len, needles))
    scanned: set[str] = set()
    for image, blocks in swarm.images():
        archive = tmp_path / "image.tar"
        with archive.open("wb") as file:
            for block in blocks:
                file.write(block)
        with tarfile.open(archive) as layers:
            for member in layers:
                if not member.isfile() or member.name in scanned:
                    continue
                scanned.add(member.name)
                stream = layers.extractfile(member)
                assert stream is not None
                for block in chunks(stream, overlap):
                    assert leaks(block, needles) == [], f"{image}: {member.name}"
        archive.unlink()
