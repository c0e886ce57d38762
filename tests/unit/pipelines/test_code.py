# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A flow's code packed and unpacked: the same code is the same version, and what is no code is refused."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from _model_spec import flow_code
from _model_spec.flow_code import Archive, BadArchive, pack, version_of
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_runtime.contracts.digest import tree_digest
from mlops_runtime.pipelines import code
from mlops_runtime.pipelines.__main__ import main
from mlops_runtime.pipelines.code import unpack

NAMES = st.text("abcxyz0-_é", min_size=1, max_size=8).map(lambda name: f"n{name}")
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=200), min_size=1)


def tree(directory: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


def is_tree(files: dict[str, bytes]) -> bool:
    """No file is another one's directory."""
    return not any(other.startswith(f"{name}/") for name in files for other in files)


@settings(max_examples=30)
@given(TREES.filter(is_tree))
def test_the_same_files_are_the_same_bytes_and_come_back(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first = tree(Path(folder, "first"), files)
        second = tree(Path(folder, "second"), dict(reversed(files.items())))
        for path in second.rglob("*"):
            os.utime(path, (0, 0))
            path.chmod(0o700)
        archive, again = pack(first), pack(second)
        assert (archive.body, archive.version) == (again.body, again.version)
        packed = Path(folder, "archive")
        packed.write_bytes(archive.body)
        assert unpack(packed, Path(folder, "out")) == archive.files
        assert tree_digest(Path(folder, "out")) == archive.code == tree_digest(first)


def test_the_version_is_that_of_code_lock_and_image(tmp_path: Path) -> None:
    directory = tree(tmp_path, {"flows.py": b"1", "lock.txt": b"2"})
    first = pack(directory, lock="lock.txt", image="flows@sha256:0")
    assert first.version == version_of(first.code, first.lock, first.image)
    others = [pack(directory), pack(directory, lock="lock.txt"), pack(directory, lock="lock.txt", image="x")]
    (directory / "flows.py").write_bytes(b"3")
    others.append(pack(directory, lock="lock.txt", image="flows@sha256:0"))
    assert len({first.version, *(other.version for other in others)}) == 5


def test_what_is_no_code_is_left_out(tmp_path: Path) -> None:
    files = ["flows.py", "sub/more.py", ".env", ".git/config", "__pycache__/flows.pyc", "build/model/m.skops", "a.csv"]
    archive = pack(tree(tmp_path, dict.fromkeys(files, b"")), exclude=["build/", "*.csv"])
    assert list(archive.files) == ["flows.py", "sub/more.py"]


def test_what_can_not_be_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadArchive, match="has no files"):
        pack(tmp_path)
    tree(tmp_path, {"a": b"12345", "b": b"12345"})
    with pytest.raises(BadArchive, match=r"the lock lock\.txt is none of the files"):
        pack(tmp_path, lock="lock.txt")
    monkeypatch.setattr(flow_code, "MAX_BYTES", 9)
    with pytest.raises(BadArchive, match="has 2 files with 10 bytes, at most"):
        pack(tmp_path)
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(BadArchive, match="link is a link"):
        pack(tmp_path)


def packed(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    path = tmp_path / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("../out")], "leads out"),
        ([member("/etc/out")], "leads out"),
        ([member("a/../../out")], "leads out"),
        ([member("a\\..\\out")], "leads out"),
        ([member("./a")], "leads out"),
        ([member("a", tarfile.SYMTYPE, "/etc")], "is no file"),
        ([member("a", tarfile.LNKTYPE, "b")], "is no file"),
        ([member("a", tarfile.CHRTYPE)], "is no file"),
        ([member("a", tarfile.DIRTYPE)], "is no file"),
        ([member("a"), member("a")], "comes twice"),
        ([member("a"), member("a/b")], "can't be unpacked"),
    ],
)
def test_what_would_leave_the_directory_is_refused(
    tmp_path: Path, members: list[tarfile.TarInfo], message: str
) -> None:
    archive = packed(tmp_path, *((one, b"") for one in members))
    with pytest.raises(BadArchive, match=message):
        unpack(archive, tmp_path / "in" / "code")
    left = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(tmp_path / "in/code")]
    assert left == [archive]


def test_what_is_too_large_is_refused_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path, (member("zeros"), bytes(2**20)))
    assert archive.stat().st_size < 2**12
    monkeypatch.setattr(code, "MAX_BYTES", 2**19)
    with pytest.raises(BadArchive, match="more than"):
        unpack(archive, tmp_path / "code")
    assert not (tmp_path / "code").exists()
    monkeypatch.setattr(code, "MAX_FILES", 2)
    with pytest.raises(BadArchive, match="more than 2 files"):
        unpack(packed(tmp_path, *((member(name), b"") for name in "abc")), tmp_path / "many")


def test_a_header_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "MAX_BYTES", 2**19)
    monkeypatch.setattr(code, "MAX_FILES", 9)
    path = tmp_path / "archive.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x" * 2**22}) as tar:
        tar.addfile(member("a"), io.BytesIO())
    with pytest.raises(BadArchive, match="more than 9 files"):
        unpack(path, tmp_path / "code")


NO_TAR, HALF = gzip.compress(b"no tar", mtime=0), gzip.compress(b"x" * 4000, mtime=0)[:-9]


@pytest.mark.parametrize("body", [b"", b"no archive", NO_TAR, HALF], ids=["empty", "text", "no tar", "half"])
def test_what_is_no_archive_is_refused(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "archive").write_bytes(body)
    try:
        found = unpack(tmp_path / "archive", tmp_path / "code")
    except BadArchive:
        return
    assert found == {}, "an empty archive, whose hash is another one's"


def test_the_command_says_the_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path, {"flows.py": b"1", "lock.txt": b"2"})
    assert main(["version", str(tmp_path), "--lock", "lock.txt", "--image", "i"]) == 0
    assert capsys.readouterr().out.strip() == pack(tmp_path, lock="lock.txt", image="i").version
    assert main(["version", str(tmp_path), "--lock", "other"]) == 1
    assert "the lock other is none of the files" in capsys.readouterr().err


def test_an_archive_knows_what_it_is_made_of() -> None:
    archive: Any = Archive(b"", {}, "c", "l", "i")
    assert code._code_of(archive.manifest(), archive.version) == "c"
    for manifest in (b"", b"[]", b"{}", archive.manifest().replace(b'"c"', b'"d"')):
        with pytest.raises(BadArchive):
            code._code_of(manifest, archive.version)
