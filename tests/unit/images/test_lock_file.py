# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from pathlib import Path

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.plugin_utils.images import LockFile


def test_decisions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "images.lock.yml"
    assert LockFile(path).source is None
    with LockFile.editing(path) as lock:
        lock.source = "pull"
    with LockFile.editing(path) as lock:
        lock.upstream["docker.io/library/proxy:v1"] = "sha256:1"
    read = LockFile(path)
    assert (read.source, read.upstream) == ("pull", {"docker.io/library/proxy:v1": "sha256:1"})
    assert [entry.name for entry in tmp_path.iterdir()] == ["images.lock.yml"]


def test_ansibles_own_strings_are_written_plainly(tmp_path: Path) -> None:
    class Tagged(str):
        pass

    path = tmp_path / "images.lock.yml"
    with LockFile.editing(path) as lock:
        lock.upstream[Tagged("r/a:1")] = Tagged("sha256:1")
    assert LockFile(path).upstream == {"r/a:1": "sha256:1"}


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "images.lock.yml"

    def write(number: int) -> None:
        with LockFile.editing(path) as lock:
            lock.upstream[f"r/{number}:1"] = f"sha256:{number}"

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(LockFile(path).upstream) == 12


@pytest.mark.parametrize("text", ["- a\n", "source: guess\n"])
def test_a_bad_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "images.lock.yml"
    path.write_text(text)
    with pytest.raises(ImagesError, match="mlops_images_lock_file"):
        LockFile(path)
