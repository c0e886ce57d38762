# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Trials: some at a time, the same with the same seed, and none that sinks the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_runtime.pipelines.errors import NoTrial
from mlops_runtime.pipelines.tuning import tune
from optuna.distributions import CategoricalDistribution, FloatDistribution

SPACE = {"x": FloatDistribution(-2, 2), "kind": CategoricalDistribution(["a", "b"])}


class Log:
    """What was written down of trials."""

    def __init__(self) -> None:
        self.begun: dict[str, Mapping[str, Any]] = {}
        self.ended: dict[str, tuple[float | None, str]] = {}

    def begin(self, number: int, parameters: Mapping[str, Any]) -> str:
        self.begun[str(number)] = dict(parameters)
        return str(number)

    def end(self, handle: str, value: float | None, problem: str) -> None:
        self.ended[handle] = value, problem


def bowl(parameters: dict[str, Any]) -> float:
    return float((parameters["x"] - 1) ** 2 + (parameters["kind"] == "b"))


def test_the_best_parameters_are_found_in_either_direction() -> None:
    found = tune(bowl, SPACE, trials=40, parallel=2, lower_is_better=True)
    assert abs(found.parameters["x"] - 1) < 0.3 and found.parameters["kind"] == "a"
    assert (found.trials, found.failed) == (40, 0)
    found = tune(bowl, SPACE, trials=40, parallel=2)
    assert found.parameters["x"] < -1.5 and found.parameters["kind"] == "b"


@settings(max_examples=8)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 15))
def test_the_same_seed_is_the_same_trials_whichever_ends_first(seed: int, parallel: int, trials: int) -> None:
    logs = []
    for slow in (0, 1):
        told = Log()

        def objective(parameters: dict[str, Any], slow: int = slow) -> float:
            time.sleep(0.002 * ((parameters["x"] > 0) == bool(slow)))  # the work itself: one half takes longer
            return bowl(parameters)

        tune(objective, SPACE, trials=trials, parallel=parallel, seed=seed, log_to=told)
        logs.append(told)
    assert logs[0].begun == logs[1].begun and logs[0].ended == logs[1].ended
    assert len(logs[0].begun) == trials


def test_so_many_run_at_once() -> None:
    together = threading.Barrier(3, timeout=30)

    def objective(parameters: dict[str, Any]) -> float:
        together.wait()
        return 1.0

    assert tune(objective, SPACE, trials=6, parallel=3).failed == 0


def test_a_trial_that_fails_is_written_down_and_the_others_go_on() -> None:
    told = Log()

    def objective(parameters: dict[str, Any]) -> float:
        if parameters["x"] < -1:
            raise ValueError("no such x")
        return float("nan") if parameters["x"] < 0 else bowl(parameters)

    found = tune(objective, SPACE, trials=30, parallel=2, log_to=told)
    problems = [problem for value, problem in told.ended.values() if value is None]
    assert found.failed == len(problems) > 1 and len(told.ended) == 30
    assert {"ValueError: no such x", "the metric is nan"} == set(problems)
    assert found.parameters["x"] >= 0


def test_where_all_fail_the_first_reason_is_told() -> None:
    with pytest.raises(NoTrial, match="all 3 trials failed; the first one: ZeroDivisionError"):
        tune(lambda parameters: 1 / 0, SPACE, trials=3)


def test_an_end_from_outside_is_no_trials_failure() -> None:
    def objective(parameters: dict[str, Any]) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(objective, SPACE, trials=3)


@pytest.mark.parametrize("given", [{"trials": 0}, {"parallel": 0}])
def test_none_at_all(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        tune(bowl, SPACE, **given)
