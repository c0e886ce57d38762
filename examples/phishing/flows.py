# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Retrains the phishing model on old and new pages, and lets it serve if it is better (docs/pipelines.md).

The new pages are those that the platform has archived since the champion was trained, as far as somebody has told what
they really were; and those of files, where there are some.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from mlops_runtime.pipelines import Retraining, retraining
from mlops_runtime.pipelines.flows import flow, task
from mlops_runtime.pipelines.gate import Verdict
from mlops_runtime.pipelines.holdout import Data
from optuna.distributions import FloatDistribution
from train import TARGET, evaluate, fit, save

SPACE = {"C": FloatDistribution(0.01, 100, log=True)}


@task
def gather(run: Retraining, files: list[str]) -> Data:
    return run.data(files=files)


@task
def tune(run: Retraining, data: Data, trials: int) -> dict[str, float]:
    return run.tune(fit, SPACE, data, trials=trials, parallel=2)


@task
def train(run: Retraining, data: Data, parameters: dict[str, float]) -> Path:
    model = fit(data.train, **parameters)
    challenger = run.directory / "challenger"
    save(model, data.train, evaluate(model, pd.concat([data.old, data.new])), challenger)
    return challenger


@task
def judge(run: Retraining, challenger: Path, data: Data) -> Verdict:
    return run.judge(challenger, data)


@task
def register(
    run: Retraining,
    challenger: Path,
    data: Data,
    verdict: Verdict,
    parameters: dict[str, float],
    lock: Path | None = None,
) -> str:
    watch = {"window": 200}
    return run.register(challenger, data, verdict, parameters=parameters, performance=watch, requirements=lock)


@flow
def retrain(
    model: str = "phishing",
    version: str = "",
    episode: str = "",
    files: list[str] | None = None,
    trials: int = 12,
    requirements: str = "requirements.txt",
    repeats: str = "",
) -> str:
    """What became of it: promoted, refused, manual or superseded, and why.

    `requirements`: the lock to serve with. `repeats`: a version whose making is repeated, to see the same come out.
    """
    with retraining(model, version, episode, target=TARGET, repeats=repeats) as run:
        data = gather(run, files or [])
        parameters = tune(run, data, trials)
        challenger = train(run, data, parameters)
        verdict = judge(run, challenger, data)
        lock = Path(__file__).with_name(requirements)
        made = run.promote(register(run, challenger, data, verdict, parameters, lock))
    return f"{made.outcome}: {made.reason}"
