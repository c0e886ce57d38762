# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Keys follow everything that goes into an image, and nothing else; contexts are the same bytes every time."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.recipe import (
    File,
    Recipe,
    Table,
    argument_name,
    context_tar,
    is_foreign,
)
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "sha256:" + "a" * 64
COLLECTION = Path(__file__).resolve().parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("base", "tool", "app"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text(f"FROM something of {name}\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("print(1)\n")
    return tmp_path


def table(root: Path, **changes: Any) -> Table:
    rows: dict[str, Any] = {
        "base": {"version": "12", "build": {"context": "images/base"}},
        "tool": {"version": "1", "build": {"context": "images/tool", "base": "base"}},
        "app": {
            "version": "1",
            "licence": "MIT",
            "build": {
                "context": "images/app",
                "files": {"code": "src", "lock.txt": {"content": "a==1"}},
                "args": {"ONE": 1},
                "base": ["base", "tool"],
            },
        },
    }
    for path, value in changes.items():
        row, _, key = path.partition("__")
        target = rows[row]
        *parents, last = key.split("__")
        for parent in parents:
            target = target[parent]
        target[last] = value
    return Table(rows, root)


def test_key_is_stable(root: Path) -> None:
    assert table(root).key("app") == table(root).key("app")
    assert len(table(root).key("app")) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"app__build__args": {"ONE": 2}},
        {"app__version": "2"},
        {"app__build__files": {"code": "src", "lock.txt": {"content": "a==2"}}},
        {"app__build__files": {"elsewhere": "src", "lock.txt": {"content": "a==1"}}},
        {"app__build__base": ["base"]},
        {"base__version": "13"},
    ],
)
def test_key_follows_what_goes_in(root: Path, change: dict[str, Any]) -> None:
    assert table(root, **change).key("app") != table(root).key("app")


def test_key_follows_files_of_bases(root: Path) -> None:
    before = table(root).key("app")
    (root / "images/base/packages.txt").write_text("wget\n")
    assert table(root).key("app") != before


def test_key_ignores_what_stays_out(root: Path) -> None:
    before = table(root).key("app")
    (root / "src/__pycache__").mkdir()
    (root / "src/__pycache__/main.cpython-311.pyc").write_bytes(b"x")
    (root / "images/app/README.md").write_text("about\n")
    (root / "images/app/requirements.in").write_text("a\n")
    (root / "images/app/Dockerfile.pull").write_text("FROM upstream\n")
    os.utime(root / "src/main.py", (1, 1))
    (root / "src/main.py").chmod(0o600)
    assert table(root).key("app") == before
    assert table(root, app__licence="BSD").key("app") == before


def test_rootfs_of_the_site_is_in_the_key_of_base(root: Path) -> None:
    rows = {"base": {"version": "12", "build": {"context": "images/base"}}}
    assert Table(rows, root).key("base") != Table(rows, root, f"debian@{DIGEST}").key("base")


def test_order_has_bases_first_and_each_once(root: Path) -> None:
    assert table(root).order(["app", "base"]) == ["base", "tool", "app"]


def test_circle_is_refused(root: Path) -> None:
    with pytest.raises(ImagesError, match=r"base -> app -> base|app -> base -> app"):
        table(root, base__build__base="app").order(["app"])


def test_foreign_base_by_digest_alone(root: Path) -> None:
    assert is_foreign(f"registry.example.org/python@{DIGEST}")
    assert not is_foreign("python_build")
    assert argument_name("python_build") == "PYTHON_BUILD"
    assert argument_name(f"registry.example.org/python@{DIGEST}") == "BASE"
    with pytest.raises(ImagesError, match="by digest"):
        table(root, app__build__base="docker.io/library/python:3.12").key("app")
    assert table(root, app__build__base=f"docker.io/library/python@{DIGEST}").key("app")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"build": {"context": "x"}, "colour": "red"}, "colour"),
        ({"build": {"context": "x", "dockerfile": "y"}}, "build.dockerfile"),
        ({"version": "1"}, "neither"),
        ({"pull": "docker.io/library/traefik"}, "exact version"),
        ({"pull": "docker.io/library/traefik:latest"}, "not latest"),
        ("text", "mapping"),
    ],
)
def test_bad_rows_are_refused(row: Any, message: str) -> None:
    with pytest.raises(ImagesError, match=message):
        Recipe.parse("x", row)


def test_missing_sources_are_named(root: Path) -> None:
    with pytest.raises(ImagesError, match=r"'app'.*'nowhere'"):
        table(root, app__build__files={"a": "nowhere"}).files("app")
    with pytest.raises(ImagesError, match="there is no image 'nope'"):
        table(root).key("nope")


def test_modes_come_from_the_content() -> None:
    assert File(b"#!/bin/sh\n").mode == 0o755
    assert File(b"text").mode == 0o644


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}", fullmatch=True), st.binary(max_size=64), max_size=6)
)
def test_context_is_deterministic_and_complete(contents: dict[str, bytes]) -> None:
    files = {path: File(content) for path, content in contents.items()}
    backwards = dict(reversed(files.items()))
    assert context_tar(files) == context_tar(backwards)
    with tarfile.open(fileobj=io.BytesIO(context_tar(files))) as archive:
        found = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
        assert {entry.mtime for entry in archive} <= {1672531200}
    assert found == contents


def test_the_collections_own_table_is_sound() -> None:
    text = (COLLECTION / "roles/images/vars/artifacts.yml").read_text()
    ours = Table(yaml.safe_load(text)["__images_artifacts"], COLLECTION)
    for name in ours.order(ours.recipes):
        recipe = ours.recipe(name)
        assert recipe.version and recipe.licence
        if recipe.context is None:
            assert name == "grafana" and recipe.pull and not recipe.bases
            continue
        assert ours.key(name)
        dockerfile = ours.files(name)["Dockerfile"].content.decode()
        for base in recipe.bases:
            assert f"ARG {argument_name(base)}\n" in dockerfile, name
        assert "# syntax" not in dockerfile
        if name not in {"python_build"}:
            assert "USER 10001:10001" in dockerfile or dockerfile.rstrip().count("\nFROM ") >= 1, name
        if recipe.pull:
            assert "ARG UPSTREAM" in ours.files(name, on_upstream=True)["Dockerfile"].content.decode()


def test_no_image_declares_a_volume() -> None:
    """A workload names its volumes. What an image declares beside them is made without a name, and a Swarm leaves it
    behind with each job."""
    recipes = sorted((COLLECTION / "images").glob("*/Dockerfile"))
    assert recipes
    declared = [
        str(file) for file in recipes if any(line.startswith("VOLUME") for line in file.read_text().splitlines())
    ]
    assert not declared
