# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Artefacts are whole or refused with the reason."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlops_runtime.drift import artefact
from mlops_runtime.drift.artefact import ArtefactError
from mlops_runtime.drift.fitting import fit

NAMES = ["a", "b", "c"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    rows = np.random.default_rng(1).normal(size=(200, 3))
    fit(rows, NAMES, detectors=["cusum"], directory=tmp_path / "drift", model="m")
    return tmp_path / "drift"


def manifest(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def arrays(directory: Path, content: bytes) -> None:
    """Other arrays, with a hash that fits: whoever can write one can write both."""
    (directory / "cusum.npz").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    manifest(directory, lambda document: document["detectors"][0].update(sha256=sha256))


def test_what_was_written_is_read(directory: Path) -> None:
    found = artefact.load(directory, model="m", names=[*NAMES, "other"])
    assert (found.model, found.rows, found.schema.names) == ("m", 200, NAMES)
    assert [detector.kind for detector in found.detectors] == ["cusum"]
    assert found.detectors[0].arrays["mean"].shape == (3,)
    assert found.sha256 == hashlib.sha256((directory / "manifest.json").read_bytes()).hexdigest()
    assert "numpy" in found.libraries


def test_writing_again_replaces_whole_directories(directory: Path) -> None:
    (directory / "left.npz").write_bytes(b"of before")
    found = artefact.load(directory)
    sha256 = artefact.write(found, directory)
    assert sorted(path.name for path in directory.iterdir()) == ["cusum.npz", "manifest.json"]
    assert artefact.load(directory, sha256=sha256).sha256 == sha256
    assert [path.name for path in directory.parent.iterdir()] == ["drift"]


def test_a_failed_write_leaves_what_was_there(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = artefact.load(directory)
    monkeypatch.setattr(artefact, "_manifest", lambda *_: {"rows": float("nan")})
    with pytest.raises(ValueError, match="Out of range"):
        artefact.write(found, directory)
    assert artefact.load(directory).sha256 == found.sha256
    assert [path.name for path in directory.parent.iterdir()] == ["drift"]


def refuses(directory: Path, says: str, **wanted: Any) -> None:
    with pytest.raises(ArtefactError, match=says):
        artefact.load(directory, **wanted)


def test_a_tampered_file(directory: Path) -> None:
    path = directory / "cusum.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refuses(directory, r"cusum.npz has SHA-256 .* it was changed")


def test_a_tampered_manifest_is_known_by_the_registry_s_hash(directory: Path) -> None:
    before = artefact.load(directory).sha256
    manifest(directory, lambda document: document.update(rows=7))
    refuses(directory, "changed after it was registered", sha256=before)


def test_a_newer_format(directory: Path) -> None:
    manifest(directory, lambda document: document.update(format=2))
    refuses(directory, "format 2; this release reads up to 1")


def test_a_pickle_is_never_read(directory: Path) -> None:
    arrays(directory, pickle.dumps({"mean": [0.0]}))
    refuses(directory, "cusum.npz is no .npz archive; a pickle is never read")


def test_pickled_objects_inside_are_never_read(directory: Path) -> None:
    memory = io.BytesIO()
    np.savez(memory, mean=np.array([{"a": 1}], dtype=object))
    arrays(directory, memory.getvalue())
    refuses(directory, "pickled objects, which are never read")


def test_another_file_inside(directory: Path) -> None:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("code.py", "print()")
    arrays(directory, memory.getvalue())
    refuses(directory, "'code.py', which is no array")


def test_what_unpacks_to_too_much(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = io.BytesIO()
    np.savez_compressed(memory, mean=np.zeros(100_000))
    arrays(directory, memory.getvalue())
    monkeypatch.setattr(artefact, "MAX_ARRAY_BYTES", 50_000)
    refuses(directory, "unpacks to 800128 bytes; at most 50000")


@pytest.mark.parametrize("file", ["../secret.npz", "/etc/passwd", "sub/x.npz", "..npz", "cusum.pkl", ""])
def test_a_path_out_of_the_directory(directory: Path, file: str) -> None:
    manifest(directory, lambda document: document["detectors"][0].update(arrays=file))
    refuses(directory, "no .npz of this directory")


def test_a_link(directory: Path, tmp_path: Path) -> None:
    (directory / "cusum.npz").rename(tmp_path / "elsewhere.npz")
    (directory / "cusum.npz").symlink_to(tmp_path / "elsewhere.npz")
    refuses(directory, "cusum.npz is a link")


def test_a_file_that_is_not_there(directory: Path) -> None:
    (directory / "cusum.npz").unlink()
    refuses(directory, "cusum.npz: No such file")


def test_a_truncated_manifest(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_bytes(path.read_bytes()[:100])
    refuses(directory, "manifest.json is no JSON")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda document: document.pop("format"), "no format"),
        (lambda document: document.update(format=True), "no format"),
        (lambda document: document.pop("features"), "features is missing"),
        (lambda document: document.update(features=[]), "0 features"),
        (lambda document: document["features"][0].pop("name"), "no name"),
        (lambda document: document.update(detectors=[{}]), "a detector needs name"),
        (lambda document: document["detectors"][0].update(name="../x"), "no name of a detector"),
        (lambda document: document["detectors"].append(document["detectors"][0]), "one name"),
    ],
)
def test_a_manifest_that_is_wrong(directory: Path, change: Callable[[dict[str, Any]], object], says: str) -> None:
    manifest(directory, change)
    refuses(directory, says)


def test_another_model(directory: Path) -> None:
    refuses(directory, "for the model 'm', not for 'other'", model="other")


def test_features_that_the_model_lacks_are_named(directory: Path) -> None:
    refuses(directory, "doesn't fit the model's features: the model has no b, c", names=["a", "d"])
