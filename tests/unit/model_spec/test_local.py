# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a declaration names on the control host: locks, sources, code, and when a source is made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import (
    ModelSpec,
    image_files,
    image_name,
    local_problems,
    parse_model,
    preparation,
)
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec.local import lock_lines, lock_problems

HASHED = "numpy==2.0.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"


def spec_of(value: Any) -> ModelSpec:
    spec, problems = parse_model(value, "mlops_models[0]")
    assert problems == [] and spec is not None
    return spec


def test_a_lock_is_its_requirements() -> None:
    text = (
        f"# made by uv\n{HASHED}    # via pandas\n\npandas==3.0 ; python_version > '3' --hash=sha256:cc  # via -r x\n"
    )
    assert lock_lines(text) == [
        "numpy==2.0.0 --hash=sha256:aa --hash=sha256:bb",
        "pandas==3.0 ; python_version > '3' --hash=sha256:cc",
    ]
    assert lock_problems(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("numpy==2.0.0\n" + HASHED, "has no hashes for numpy; make it with uv pip compile --generate-hashes"),
        ("".join(f"p{i}==1\n" for i in range(5)), "has no hashes for p0, p1, p2 and 2 more"),
        ("-r other.txt\n" + HASHED, "has the option '-r other.txt'"),
        ("--index-url https://x\n" + HASHED, "has the option '--index-url https://x'"),
        ("# nothing\n", "names no requirement"),
    ],
)
def test_what_is_no_lock(text: str, message: str) -> None:
    found = lock_problems(text)
    assert len(found) == 1
    assert message in found[0]


def test_a_sound_declaration_has_no_problems(declared: dict[str, Any], tmp_path: Path) -> None:
    assert local_problems(spec_of(declared), tmp_path, "m") == []


def test_all_that_is_missing_is_said(declared: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model" / "MLmodel").unlink()
    (tmp_path / "requirements.txt").unlink()
    (tmp_path / "src").mkdir()
    value = {
        **declared,
        "datasets": [{"name": "train", "path": "train.csv"}],
        "class": {"name": "fraud.Fraud", "code": "src"},
    }
    found = local_problems(spec_of(value), tmp_path, "mlops_models[4]")
    assert [line.split(": ")[0] for line in found] == [
        "mlops_models[4].requirements",
        "mlops_models[4].class.name",
        "mlops_models[4].source.path",
        "mlops_models[4].datasets[0].path",
    ]
    assert f"{tmp_path}/model has no MLmodel file" in found[2]


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        ("fraud.py", "class Other: ...", "fraud.py defines no class Fraud"),
        ("fraud.py", "class Fraud(", "fraud.py is not Python"),
        ("fraud.py", "class Fraud: ...", ""),
        ("fraud/__init__.py", "from .x import Y as Fraud", ""),
        ("Fraud.py", "class Fraud: ...", "has no module fraud"),
    ],
)
def test_a_class_is_where_it_is_said_to_be(
    declared: dict[str, Any], tmp_path: Path, module: str, text: str, message: str
) -> None:
    file = tmp_path / "src" / module
    file.parent.mkdir(parents=True)
    file.write_text(text)
    found = local_problems(spec_of({**declared, "class": {"name": "fraud.Fraud", "code": "src"}}), tmp_path, "m")
    assert len(found) == bool(message)
    assert all(message in line for line in found)


def test_equal_environments_share_an_image(declared: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_text("# a comment\n" + HASHED)
    (tmp_path / "other.txt").write_text(HASHED.replace("aa", "cc"))
    name = image_name(spec_of(declared), tmp_path)
    assert len(name) == len("model-") + 12
    assert image_name(spec_of({**declared, "name": "b", "requirements": "same.txt", "replicas": 2}), tmp_path) == name
    assert image_name(spec_of({**declared, "requirements": "other.txt"}), tmp_path) != name
    assert image_name(spec_of({**declared, "runtime": "seldon_core"}), tmp_path) != name
    assert image_name(spec_of({**declared, "python": "python313"}), tmp_path) != name


def test_code_is_part_of_the_image(declared: dict[str, Any], tmp_path: Path) -> None:
    code = tmp_path / "src"
    (code / "__pycache__").mkdir(parents=True)
    (code / "fraud.py").write_text("class Fraud: ...")
    spec = spec_of({**declared, "class": {"name": "fraud.Fraud", "code": "src"}})
    name = image_name(spec, tmp_path)
    (code / "__pycache__" / "fraud.pyc").write_bytes(b"\xff")
    assert image_name(spec, tmp_path) == name
    (code / "fraud.py").write_text("class Fraud: pass")
    assert image_name(spec, tmp_path) != name
    assert image_files(spec, tmp_path)["code"] == str(code)


def test_a_source_is_made_when_it_is_not_there_or_its_inputs_changed(declared: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("1")
    value = {**declared, "source": {"path": "build/model", "prepare": {"command": ["true"], "inputs": ["train.py"]}}}
    spec = spec_of(value)
    assert local_problems(spec, tmp_path, "m") == []

    first = preparation(spec, tmp_path)
    assert first is not None and "build/model does not exist" in first.why
    (tmp_path / "build/model").mkdir(parents=True)
    unknown = preparation(spec, tmp_path)
    assert unknown is not None and "is unknown" in unknown.why
    Path(first.stamp).write_text(first.digest + "\n")
    assert preparation(spec, tmp_path) is None

    (tmp_path / "train.py").write_text("2")
    changed = preparation(spec, tmp_path)
    assert changed is not None and "inputs have changed" in changed.why
    assert changed.digest != first.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"accuracy": 0.9, "rows": 3}', ""),
        ("accuracy: 0.9", "is not JSON"),
        ('{"accuracy": {"test": 0.9}}', "is not one flat mapping of names to numbers"),
        ('{"accuracy": true}', "is not one flat mapping of names to numbers"),
        (None, "does not exist"),
    ],
)
def test_metrics_are_a_flat_file(declared: dict[str, Any], tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    found = local_problems(spec_of({**declared, "metrics": "metrics.json"}), tmp_path, "m")
    assert len(found) == bool(message)
    assert all(line.startswith("m.metrics: ") and message in line for line in found)


def test_seldons_wrapper_wants_numpy_1(declared: dict[str, Any], tmp_path: Path) -> None:
    value = {**declared, "runtime": "seldon_core"}
    found = local_problems(spec_of(value), tmp_path, "m")
    assert len(found) == 1 and "lock numpy<2" in found[0]
    (tmp_path / "requirements.txt").write_text(HASHED.replace("2.0.0", "1.26.4"))
    assert local_problems(spec_of(value), tmp_path, "m") == []
