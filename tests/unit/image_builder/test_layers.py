# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Layers are root's, and the same files make the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from pathlib import Path

from mlops_runtime.image_builder import layers


def tree(root: Path, moment: int) -> Path:
    (root / "lib/python3.11").mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin/tool").write_text("#!/bin/sh\n")
    (root / "bin/tool").chmod(0o775)
    (root / "bin/python").symlink_to("/usr/bin/python3")
    (root / "lib64").symlink_to("lib")
    (root / "lib/python3.11/a.py").write_text("a = 1\n")
    (root / "lib/python3.11/a.py").chmod(0o666)
    for path in root.rglob("*"):
        os.utime(path, (moment, moment), follow_symlinks=False)
    return root


def test_the_same_files_are_the_same_layer(tmp_path: Path) -> None:
    beats: list[None] = []
    first = layers.pack_tree(tree(tmp_path / "a", 1), "opt/venv", tmp_path / "1", lambda: beats.append(None))
    second = layers.pack_tree(tree(tmp_path / "b", 2_000_000_000), "opt/venv", tmp_path / "2", lambda: None)
    assert (first.digest, first.diff_id, first.size) == (second.digest, second.diff_id, second.size)
    content = first.path.read_bytes()
    assert first.digest == f"sha256:{hashlib.sha256(content).hexdigest()}" and first.size == len(content)
    assert first.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(content)).hexdigest()}"
    assert len(beats) == 7
    with tarfile.open(first.path) as archive:
        entries = {entry.name: entry for entry in archive}
    assert list(entries)[:2] == ["opt", "opt/venv"]
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries.values()} == {(0, 0, layers.EPOCH)}
    assert {name: entry.mode for name, entry in entries.items() if entry.isfile()} == {
        "opt/venv/bin/tool": 0o755, "opt/venv/lib/python3.11/a.py": 0o644,
    }  # fmt: skip
    assert entries["opt/venv/bin/python"].linkname == "/usr/bin/python3" and entries["opt/venv/lib64"].issym()


def test_one_file_is_a_layer(tmp_path: Path) -> None:
    made = layers.pack_file(b"numpy==2\n", "microservice/requirements.txt", tmp_path / "lock")
    with tarfile.open(made.path) as archive:
        [entry] = archive.getmembers()
        stream = archive.extractfile(entry)
        assert stream and stream.read() == b"numpy==2\n"
    assert (entry.name, entry.mode, entry.uid) == ("microservice/requirements.txt", 0o644, 0)
