# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The examples' declarations are sound, and so are the locks and the flows that they name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import from_tag, image_name, parse_model
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec.flow_code import flow_parameters, pack
from ansible_collections.mlops.onprem.plugins.plugin_utils.model_filters import model_plan, model_problems

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
DECLARED = sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob("*/*.yml"))
LOCKS = sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob("*/requirements*.txt"))
COMPONENTS = ["mlflow", "kafka", "drift_detector", "lifecycle", "prefect", "prometheus"]


def pins(lock: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9_.-]+)==(\S+)", lock.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def test_all_are_looked_at() -> None:
    assert DECLARED == ["landcover/model.yml", "phishing/loop.yml", "phishing/model.yml"]
    assert {"landcover/requirements-page.txt", "landcover/requirements-train.txt"} < set(LOCKS)


@pytest.mark.parametrize("path", DECLARED)
def test_a_declaration_has_no_problem(path: str) -> None:
    assert model_problems([str(EXAMPLES / path)], str(EXAMPLES), COMPONENTS) == []


@pytest.mark.parametrize("path", LOCKS)
def test_a_lock_has_hashes_and_names_no_server(path: str) -> None:
    text = (EXAMPLES / path).read_text()
    assert (
        text.count("==") <= text.count("--hash=sha256:") and "://" not in text and "index" not in text.split("\n", 2)[2]
    )
    assert (EXAMPLES / path).with_suffix(".in").exists()


@pytest.mark.parametrize("example", ["landcover", "phishing"])
def test_what_is_trained_retrained_and_served_with_is_one(example: str) -> None:
    """What one release of these stores, another may read otherwise."""
    image = pins(ROOT / "images/pipelines/requirements.txt")
    locks = [pins(EXAMPLES / example / name) for name in ("requirements.txt", "requirements-train.txt")]
    for name in ("scikit-learn", "skops", "numpy"):
        assert locks[0][name] == locks[1][name] >= image[name]


def test_what_landcover_declares_is_kept_with_it() -> None:
    spec, problems = parse_model(yaml.safe_load((EXAMPLES / "landcover/model.yml").read_text()), "model.yml")
    assert spec is not None and problems == []
    kept = from_tag(spec.to_tag())
    assert kept.drift and [detector.kind for detector in kept.drift.detectors] == ["ewma", "rff"] and kept.drift.labels
    assert kept.records and kept.method == "predict_proba"
    retraining = kept.retraining
    assert retraining and retraining.schedule and retraining.schedule.cron and retraining.promotion == "auto"
    assert [trigger.kind for trigger in retraining.on] == ["drift", "performance"]
    assert retraining.gate and retraining.gate.metric == "accuracy"


def test_both_examples_share_an_image() -> None:
    names = {one["image"] for path in DECLARED for one in model_plan([str(EXAMPLES / path)], str(EXAMPLES))}
    assert len(names) == 1


def test_landcovers_flow_is_a_page_and_needs_nothing_that_it_isnt_given() -> None:
    flows = EXAMPLES / "landcover/flows.py"
    assert len(flows.read_text().splitlines()) <= 80
    taken = flow_parameters(flows, "retrain")
    assert not any(taken.values()) and {"model", "version", "episode", "trials", "parallel"} <= set(taken)


def test_what_training_makes_is_no_part_of_the_flows_code(tmp_path: Path) -> None:
    code = tmp_path / "landcover"
    shutil.copytree(EXAMPLES / "landcover", code, ignore=shutil.ignore_patterns("build", "__pycache__"))
    before = pack(code)
    (code / "build/model").mkdir(parents=True)
    (code / "build/model/MLmodel").write_text("flavors: {}")
    assert pack(code).version == before.version and "flows.py" in before.files


def test_a_changed_class_alone_is_another_image(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    shutil.copy(EXAMPLES / "landcover/requirements.txt", tmp_path)
    declared = {
        "name": "own",
        "source": {"path": "model"},
        "requirements": "requirements.txt",
        "class": {"name": "own.Own", "code": "src"},
    }
    spec, problems = parse_model(declared, "own")
    assert spec is not None and problems == []
    names = []
    for code in ("class Own: ...", "class Own:\n    def predict(self, X, names): return X"):
        (tmp_path / "src/own.py").write_text(code)
        names.append(image_name(spec, tmp_path))
    assert names[0] != names[1]
