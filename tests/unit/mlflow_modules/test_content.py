# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import cast

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.content import (
    Reader,
    digest_of,
    is_ignored,
    scan,
    scan_file,
    scan_model,
    tree_digest,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for name, text in {
        "MLmodel": "flavors: {}\n",
        "data/a b.bin": "x" * 3000,
        "data/ä.txt": "",
        "code/m.py": "1\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_digest_is_what_the_shell_would_say(model: Path) -> None:
    command = r"find . -type f -printf '%P\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum"
    told = subprocess.run(command, cwd=model, shell=True, check=True, capture_output=True, text=True).stdout.split()[0]
    assert digest_of(scan_model(model)) == told


def test_what_using_a_model_leaves_behind_is_no_content(model: Path) -> None:
    before = digest_of(scan(model))
    (model / "registered_model_meta").write_text("model_name: x\n")
    (model / "code/__pycache__").mkdir()
    (model / "code/__pycache__/m.cpython-311.pyc").write_bytes(b"\0")
    assert digest_of(scan(model)) == before
    assert is_ignored("code/__pycache__/m.pyc") and is_ignored("registered_model_meta") and not is_ignored("code/m.py")


def test_a_file_that_is_linked_counts_as_its_content(model: Path) -> None:
    before = digest_of(scan(model))
    (model / "code/m.py").rename(model.parent / "m.py")
    (model / "code/m.py").symlink_to(model.parent / "m.py")
    assert digest_of(scan(model)) == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: (root / "MLmodel").unlink(), "has no MLmodel file"),
        (lambda root: (root / "MLmodel").rename(root.parent / "x"), "save_model"),
        (lambda root: root.rename(root.parent / "gone"), "does not exist on the host that the module runs on"),
        (lambda root: (root / "linked").symlink_to(root.parent), "is a link to a directory"),
        (lambda root: (root / "broken").symlink_to(root / "none"), "is neither a file nor a directory"),
    ],
)
def test_what_cant_be_stored_is_said(model: Path, make: object, message: str) -> None:
    make(model)  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as caught:
        scan_model(model)
    assert str(caught.value).startswith("path: ") and str(model) in str(caught.value)


def test_a_file_is_no_directory(model: Path) -> None:
    with pytest.raises(InputError, match=r"is not a directory"):
        scan_model(model / "MLmodel")


@pytest.mark.parametrize("change", [b"y" * 3000, b"x" * 2999, b"x" * 3001, b""])
def test_a_file_that_changes_on_the_way_is_seen(model: Path, change: bytes) -> None:
    path = model / "data/a b.bin"
    file = scan_file(path, "a")
    with Reader(file) as reader:
        assert reader.read(1 << 20) == b"x" * 3000
    path.write_bytes(change)
    with Reader(file) as reader, pytest.raises(InputError, match=r"changed while it was being stored"):
        while reader.read(1000):
            pass


@given(
    st.dictionaries(st.text(min_size=1, alphabet=st.characters(exclude_categories=("Cs",))), st.binary(), max_size=6)
)
def test_order_is_nothing_content_and_names_are_all(files: dict[str, bytes]) -> None:
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    backwards = dict(reversed(list(hashes.items())))
    assert tree_digest(hashes) == tree_digest(backwards)
    for path in hashes:
        assert tree_digest({**hashes, path: "0" * 64}) != tree_digest(hashes)
        assert tree_digest({cast(str, k) + ("'" if k == path else ""): v for k, v in hashes.items()}) != tree_digest(
            hashes
        )
