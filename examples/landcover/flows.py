# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Searches for a better forest on old and new segments, and lets it serve if it is one (docs/pipelines.md).

The new segments are those that the platform has archived since the champion was trained, as far as somebody has told
what they really were; and those of files, where there are some.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlops_runtime.pipelines import Retraining, retraining
from mlops_runtime.pipelines.flows import flow, task
from mlops_runtime.pipelines.gate import Verdict
from mlops_runtime.pipelines.holdout import Data
from optuna.distributions import FloatDistribution, IntDistribution
from train import TARGET, evaluate, fit, save

SPACE = {
    "n_estimators": IntDistribution(20, 100, step=20),
    "max_depth": IntDistribution(4, 24),
    "max_features": FloatDistribution(0.1, 1.0),
    "min_samples_leaf": IntDistribution(1, 8),
}


@task
def gather(run: Retraining, files: list[str]) -> Data:
    return run.data(files=files)


@task
def search(run: Retraining, data: Data, trials: int, parallel: int) -> dict[str, Any]:
    # A forest's trees grow in native code: trials in threads side by side, each on a core of its own.
    return run.tune(fit, SPACE, data, trials=trials, parallel=parallel)


@task
def train(run: Retraining, data: Data, parameters: dict[str, Any]) -> Path:
    model = fit(data.train, **parameters)
    challenger = run.directory / "challenger"
    save(model, data.train, evaluate(model, pd.concat([data.old, data.new])), challenger)
    return challenger


@task
def judge(run: Retraining, challenger: Path, data: Data) -> Verdict:
    return run.judge(challenger, data)


@task
def register(run: Retraining, challenger: Path, data: Data, verdict: Verdict, parameters: dict[str, Any]) -> str:
    return run.register(challenger, data, verdict, parameters=parameters, performance={"window": 200})


@flow
def retrain(
    model: str = "landcover",
    version: str = "",
    episode: str = "",
    files: list[str] | None = None,
    trials: int = 16,
    parallel: int = 2,
    repeats: str = "",
) -> str:
    """What became of it: promoted, refused, manual or superseded, and why.

    `repeats`: a version whose making is repeated, to see the same come out.
    """
    with retraining(model, version, episode, target=TARGET, repeats=repeats) as run:
        data = gather(run, files or [])
        parameters = search(run, data, trials, parallel)
        challenger = train(run, data, parameters)
        verdict = judge(run, challenger, data)
        made = run.promote(register(run, challenger, data, verdict, parameters))
    return f"{made.outcome}: {made.reason}"
