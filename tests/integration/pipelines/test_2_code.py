# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A flow's code by way of a real MLflow: stored, pulled, and refused where it was changed."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from _model_spec.flow_code import BadArchive, pack
from mlops_runtime.contracts.digest import tree_digest
from mlops_runtime.contracts.mlflow import MlflowError
from mlops_runtime.pipelines import code
from mlops_runtime.pipelines.__main__ import main
from mlops_runtime.pipelines.code import fetch, pull, store


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    directory = tmp_path / "flow"
    directory.mkdir()
    (directory / "flows.py").write_text("print('hello')\n")
    (directory / "lock.txt").write_text("a==1\n")
    return directory


@pytest.fixture
def name() -> str:
    return f"m-{uuid.uuid4().hex[:10]}"


def stored(site: Any, name: str) -> list[Path]:
    return sorted((site.mlflow.directory / "artifacts").rglob(f"code/{name}/*"))


def test_the_pull_step_brings_what_was_packed(
    site: Any, access: Any, flow: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", os.environ["MLFLOW_TRACKING_PASSWORD"])
    assert main(["pack", str(flow), "--model", name, "--lock", "lock.txt", "--image", "flows@sha256:1"]) == 0
    version = capsys.readouterr().out.strip()
    monkeypatch.setenv("MLOPS_PIPELINE_DIR", str(flow.parent / "pulled"))
    found = pull(name, version)
    assert tree_digest(Path(found["directory"])) == tree_digest(flow)
    assert os.environ["MLOPS_PIPELINE"] == version
    assert pull(name, version) == found, "again, in the place of what is there"
    assert [path.suffix for path in stored(site, name)] == [".json", ".gz"]


def test_what_was_changed_in_the_store_is_refused(site: Any, access: Any, flow: Path, name: str) -> None:
    version = store(site.client, name, pack(flow))
    (flow / "flows.py").write_text("print('something else')\n")
    other = pack(flow)
    manifest, archive = stored(site, name)
    sound = archive.read_bytes(), manifest.read_text()

    archive.write_bytes(other.body)
    with pytest.raises(BadArchive, match="the code has the hash"):
        fetch(site.client, name, version, flow.parent / "pulled")
    manifest.write_bytes(other.manifest())
    with pytest.raises(BadArchive, match="is another version's: it was changed"):
        fetch(site.client, name, version, flow.parent / "pulled")
    manifest.write_text(json.dumps({**json.loads(sound[1]), "format": 2}))
    with pytest.raises(BadArchive, match="has format 2"):
        fetch(site.client, name, version, flow.parent / "pulled")
    assert list((flow.parent / "pulled").iterdir()) == []

    archive.write_bytes(sound[0])
    manifest.write_text(sound[1])
    assert fetch(site.client, name, version, flow.parent / "pulled").name == f"{name}-{version[:16]}"


def test_a_download_without_end_is_cut(
    site: Any, access: Any, flow: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = store(site.client, name, pack(flow))
    monkeypatch.setattr(code, "MAX_BYTES", 20)
    with pytest.raises(BadArchive, match="has more than 40 bytes"):
        fetch(site.client, name, version, flow.parent / "pulled")


def test_a_version_that_is_not_there(site: Any, access: Any, flow: Path, name: str) -> None:
    for version in ("0" * 64, "../../other"):
        with pytest.raises(MlflowError):
            fetch(site.client, name, version, flow.parent / "pulled")
