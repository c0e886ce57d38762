# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Flows that end badly, beside the example's, whose tasks they use."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flows import gather, judge, register, train
from mlops_runtime.pipelines import retraining
from mlops_runtime.pipelines.flows import flow, task
from train import TARGET


@task
def breaks() -> None:
    raise ValueError("nothing to learn from")


@flow
def goes_on(model: str, version: str = "", episode: str = "") -> str:
    """Takes no notice of a task that has failed."""
    with retraining(model, version, episode, target=TARGET):
        breaks(return_state=True)
    return "all is well"


@flow
def promotes_all_the_same(model: str, version: str = "", episode: str = "") -> str:
    """Wins, and would move the alias after a task has failed."""
    with retraining(model, version, episode, target=TARGET) as run:
        data = gather(run, [])
        challenger = train(run, data, {"C": 1.0})
        made = register(run, challenger, data, judge(run, challenger, data), {})
        breaks(return_state=True)
        return run.promote(made).outcome


@flow
def waits(model: str, version: str = "", episode: str = "", folder: str = "") -> str:
    """Between registration and promotion until the file `go` is there; says by the file `pid` that it is there."""
    with retraining(model, version, episode, target=TARGET) as run:
        data = gather(run, [])
        challenger = train(run, data, {"C": 1.0})
        made = register(run, challenger, data, judge(run, challenger, data), {})
        Path(folder, "pid.new").write_text(str(os.getpid()))
        Path(folder, "pid.new").rename(Path(folder, "pid"))
        while not Path(folder, "go").exists():
            time.sleep(0.1)
        return run.promote(made).outcome
