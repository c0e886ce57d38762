# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Tuning: Optuna's trials some at a time, each a nested run in MLflow.

Trials are threads of one process: fitting spends its time in native code that lets other threads run (numpy,
scikit-learn, the gradient boosters, torch), the training frame is shared and not copied, and nothing has to be pickled.
A fit that is pure Python gains nothing by `parallel`.

Parameters are drawn for a batch of `parallel` trials at once, and results are told in the order of the trials: the same
seed gives the same trials whichever of them ends first.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from mlops_runtime.pipelines.errors import NoTrial

log = logging.getLogger(__name__)
Objective = Callable[[dict[str, Any]], float]
Space = Mapping[str, BaseDistribution]


class TrialLog(Protocol):
    """Where trials are written down; called by several threads."""

    def begin(self, number: int, parameters: Mapping[str, Any]) -> str:
        """Returns a handle of the trial."""

    def end(self, handle: str, value: float | None, problem: str) -> None:
        """`value` is None where it failed."""


@dataclass(frozen=True)
class Tuned:
    """The best trial, and how many there were."""

    parameters: Mapping[str, Any]
    value: float
    number: int
    trials: int
    failed: int


def tune(
    objective: Objective,
    space: Space,
    *,
    trials: int = 20,
    parallel: int = 2,
    lower_is_better: bool = False,
    seed: int = 0,
    log_to: TrialLog | None = None,
) -> Tuned:
    """The parameters of the best of so many trials. Raises NoTrial where all failed, ValueError."""
    if trials < 1 or parallel < 1:
        raise ValueError(f"{trials} trials, {parallel} at once: both have to be 1 or more")
    study = optuna.create_study(
        direction="minimize" if lower_is_better else "maximize", sampler=optuna.samplers.TPESampler(seed=seed)
    )
    first_problem = ""
    with ThreadPoolExecutor(parallel) as threads:
        for begin in range(0, trials, parallel):
            batch = [study.ask(dict(space)) for _ in range(min(parallel, trials - begin))]
            results = threads.map(lambda trial: _run(objective, trial.number, dict(trial.params), log_to), batch)
            for trial, (value, problem) in zip(batch, results, strict=True):
                first_problem = first_problem or problem
                study.tell(trial, value, TrialState.FAIL if value is None else None)
    failed = len(study.get_trials(deepcopy=False, states=[TrialState.FAIL]))
    if failed == trials:
        raise NoTrial(f"all {trials} trials failed; the first one: {first_problem}")
    best = study.best_trial
    return Tuned(dict(best.params), float(study.best_value), best.number, trials, failed)


def _run(
    objective: Objective, number: int, parameters: dict[str, Any], log_to: TrialLog | None
) -> tuple[float | None, str]:
    handle = log_to.begin(number, parameters) if log_to else ""
    value: float | None = None
    problem = ""
    try:
        found = float(objective(parameters))
        if math.isfinite(found):
            value = found
        else:
            problem = f"the metric is {found}"
    except Exception as error:  # one trial's failure, whatever it is, isn't the study's
        log.warning("Trial %d failed with %s", number, parameters, exc_info=True)
        problem = f"{type(error).__name__}: {error}"
    if log_to:
        log_to.end(handle, value, problem)
    return value, problem
