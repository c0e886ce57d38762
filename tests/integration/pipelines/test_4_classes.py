# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A retraining of more than two classes, with names for them: the land cover example's flow against a real MLflow."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from stand import ADMIN, EXAMPLES, PASSWORD, ROOT, Site, trained

LANDCOVER = EXAMPLES / "landcover"
LIGHT = ["intensity-mean", "rawred-mean", "rawblue-mean", "rawgreen-mean"]
LIGHT += ["exred-mean", "exblue-mean", "exgreen-mean", "value-mean"]
CLASSES = ["brickface", "cement", "foliage", "grass", "path", "sky", "window"]
RUN = "import sys, flows; print(flows.retrain(sys.argv[1], '1', sys.argv[2], trials=4, parallel=2))"


@pytest.fixture(scope="module")
def landcover(
    mlflow_server: Any,
    python: Path,
    call: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    build = trained(LANDCOVER, python, tmp_path_factory.mktemp("landcover"))
    return Site(mlflow_server, build, call, LANDCOVER, "category")


def dusk(site: Site, count: int = 400) -> pd.DataFrame:
    """Segments in less light, and as many as they were, in the order in which they came."""
    rows = pd.concat([site.train, site.test]).sample(count, random_state=1)
    dark = rows.assign(**{name: rows[name] * 0.4 for name in LIGHT})
    return pd.concat([dark, rows.iloc[: count // 4]]).sample(frac=1, random_state=2)


@pytest.fixture
def retrain(landcover: Site, python: Path, tmp_path: Path) -> Callable[[Any, str], str]:
    """The flow itself, in what it runs in; its own Prefect starts a server for the moment."""

    def run(model: Any, episode: str) -> str:
        (tmp_path / "password").write_text(PASSWORD)
        paths = [LANDCOVER, ROOT / "runtime" / "src", ROOT / "plugins" / "module_utils"]
        env = {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "MLFLOW_TRACKING_URI": landcover.mlflow.uri,
            "MLFLOW_TRACKING_USERNAME": ADMIN,
            "MLFLOW_TRACKING_PASSWORD_FILE": str(tmp_path / "password"),
        }
        done = subprocess.run(
            [python, "-c", RUN, model.name, episode],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-5000:]}"
        return done.stdout.splitlines()[-1]

    return run


def test_a_better_forest_takes_over_and_is_watched_by_its_seven_classes(
    landcover: Site, retrain: Callable[[Any, str], str]
) -> None:
    model = landcover.model(gate={"metric": "accuracy", "maximum_loss": 0.05})
    model.ask(dusk(landcover))
    assert retrain(model, "e-1").startswith("promoted"), model.tags("2")
    assert model.champion == "2" and model.tags("2")["mlops.gate"] == "won"
    gate = json.loads((model.artefacts("2") / "gate.json").read_text())
    assert gate["metric"] == "accuracy" and gate["gain"] > 0.1
    manifest = json.loads((model.artefacts("2") / "drift/manifest.json").read_text())
    assert manifest["outputs"] == {"kind": "probabilities", "classes": CLASSES, "width": 7}
    kept = pd.read_parquet(model.artefacts("2") / "datasets/train/train.parquet")
    assert sorted(kept["category"].unique()) == CLASSES
    trials = [one for one in model.runs() if any(tag["key"] == "mlops.trial" for tag in one["data"]["tags"])]
    spans = sorted((one["info"]["start_time"], one["info"]["end_time"]) for one in trials)
    assert len(spans) == 4 and {one["info"]["status"] for one in trials} == {"FINISHED"}
    assert spans[1][0] < spans[0][1] and spans[3][0] < spans[2][1], "two at a time"


def test_labels_that_lack_a_class_are_judged_and_watched_all_the_same(
    landcover: Site, retrain: Callable[[Any, str], str]
) -> None:
    model = landcover.model(gate={"metric": "f1_macro", "minimum_gain": 0.9})
    rows = dusk(landcover)
    model.ask(rows[rows["category"] != "sky"])
    assert retrain(model, "e-2").startswith("refused")
    manifest = json.loads((model.artefacts("2") / "drift/manifest.json").read_text())
    assert manifest["outputs"]["classes"] == CLASSES
    assert "and not at least 0.9" in json.loads((model.artefacts("2") / "gate.json").read_text())["reasons"][0]
