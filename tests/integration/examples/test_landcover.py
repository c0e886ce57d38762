# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The land cover example in the environments of its own locks: trained, searched for, and on its page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec.local import tree_digest
from ansible_collections.mlops.onprem.plugins.plugin_utils.model_filters import model_plan, model_problems
from checkout import EXAMPLE, ROOT, copy_to, python_of, run, train
from recorded_platform import PASSWORD, READINGS, RecordedPlatform

HERE = Path(__file__).resolve().parent


# Training


def test_training_makes_what_is_declared(example: Path) -> None:
    assert model_problems([str(example / "model.yml")], str(example)) == []
    (plan,) = model_plan([str(example / "model.yml")], str(example))
    assert plan["ready"] and not plan["prepare"], "it isn't made again"
    assert plan["metrics"]["accuracy"] > 0.95 and plan["metrics"]["f1_macro"] > 0.95
    drift = json.loads((example / "build/drift/manifest.json").read_text())
    assert [one["kind"] for one in drift["detectors"]] == ["ewma", "rff"]
    classes = ["brickface", "cement", "foliage", "grass", "path", "sky", "window"]
    assert drift["outputs"] == {"kind": "probabilities", "classes": classes, "width": 7}
    assert drift["performance"]["calibration"]["accuracy"] > 0.95


def test_training_again_makes_the_same(example: Path, tmp_path: Path) -> None:
    code = copy_to(tmp_path / "landcover")
    train(code)
    assert tree_digest(code / "build") == tree_digest(example / "build")


# Its flow


@pytest.fixture(scope="module")
def searched(example: Path) -> dict[str, Any]:
    flow_python = python_of(ROOT / "images/pipelines/requirements.txt")
    path = os.pathsep.join(map(str, (ROOT / "runtime/src", ROOT / "plugins/module_utils")))
    told = run([flow_python, HERE / "searching.py", example, 4, 2], PYTHONPATH=path, PREFECT_LOGGING_LEVEL="ERROR")
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def test_the_flow_searches_two_trials_at_a_time(searched: dict[str, Any]) -> None:
    runs = searched["runs"]
    assert len(runs) == 4 and {one["status"] for one in runs} == {"FINISHED"}
    assert searched["flow"] == "retrain" and searched["fits at once"] == 2
    for first, second in zip(runs[::2], runs[1::2], strict=True):
        assert max(first["begun"], second["begun"]) < min(first["ended"], second["ended"]), (
            "they ran one after the other"
        )
    print(f"{searched['seconds']:.1f} s, {searched['cores']:.2f} cores")


def test_the_search_ends_with_the_best_of_them(searched: dict[str, Any]) -> None:
    best = max(searched["runs"], key=lambda one: one["accuracy"])
    assert best["accuracy"] > 0.9
    assert {name: str(value) for name, value in searched["parameters"].items()} == best["parameters"]
    assert set(best["parameters"]) == {"n_estimators", "max_depth", "max_features", "min_samples_leaf"}


# Its page


@pytest.fixture
def seen(example: Path, platform: RecordedPlatform, tmp_path: Path) -> Callable[..., Any]:
    def look(**more: str) -> Any:
        (tmp_path / "password").write_text(PASSWORD + "\n")
        given = {
            "MLOPS_URL": platform.url,
            "MLOPS_ADDRESS": "127.0.0.1",
            "MLOPS_DATA": str(example / "build/test.csv"),
            "PROMETHEUS_PASSWORD_FILE": str(tmp_path / "password"),
            "HOME": str(tmp_path),
        }
        # The page itself, where what it shares with others lies beside it.
        page = [python_of(EXAMPLE / "requirements-page.txt"), HERE / "page_seen.py", EXAMPLE / "page.py"]
        return json.loads(run(page, **{**given, **more}).splitlines()[-1])

    return look


def test_the_page_shows_answer_version_and_drift(seen: Callable[..., Any], platform: RecordedPlatform) -> None:
    day, dusk = seen()
    assert day["exceptions"] == dusk["exceptions"] == day["errors"] == []
    assert len(platform.asked) == 2 and platform.told == []
    sent = [dict(zip(one["data"]["names"], one["data"]["ndarray"][0], strict=True)) for one in platform.asked]
    assert sent[1]["intensity-mean"] == pytest.approx(0.4 * sent[0]["intensity-mean"])
    assert day["answers"] == [["Version 3 says", "sky"]] and day["charts"] == 1
    assert dusk["answers"] == [["Version 3 says", "cement"]]
    assert day["warnings"] == ["Drift at version 3, of value-mean."]
    shown = next(table for table in day["tables"] if table and "detector" in table[0])
    assert shown[0] == {
        "version": "3",
        "detector": "ewma",
        "feature": "value-mean",
        "statistic / threshold": 2.75,
        "drift": True,
    }


def test_the_page_is_calm_where_nothing_drifts(seen: Callable[..., Any], platform: RecordedPlatform) -> None:
    platform.readings = {key: value[:1] for key, value in READINGS.items()}
    day, _ = seen()
    assert day["successes"] == ["No drift: at most 0.31 of the threshold."] and day["warnings"] == []


def test_the_page_says_what_is_missing(seen: Callable[..., Any]) -> None:
    day, _ = seen(PROMETHEUS_PASSWORD_FILE="", MLOPS_MODEL="other")
    assert day["exceptions"] == [] and day["answers"] == []
    assert "other doesn't answer: HTTP 404" in day["errors"][0]
    assert "PROMETHEUS_PASSWORD" in day["hints"][0]
    wrong, _ = seen(PROMETHEUS_PASSWORD_FILE="", PROMETHEUS_PASSWORD="another")
    assert "Prometheus doesn't answer: HTTP 401" in wrong["errors"][0]
