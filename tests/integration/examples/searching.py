# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Run where the flow runs: imports it, and has its task search. Prints what was tried, and when.

The registry is a stand-in that writes trials down; all else is the flow's and the runtime's own.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

code, trials, parallel = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
sys.path.insert(0, str(code))

import flows  # noqa: E402 - found only now
import train  # noqa: E402
from mlops_runtime.pipelines.holdout import freeze  # noqa: E402
from mlops_runtime.pipelines.metrics import metric  # noqa: E402
from mlops_runtime.pipelines.run import Retraining  # noqa: E402


class Client:
    """MLflow's, as far as trials are concerned."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self._changing = threading.Lock()

    def create_run(self, experiment: str, tags: dict[str, str], run_name: str) -> Any:
        with self._changing:
            id = str(len(self.runs))
            self.runs[id] = {"name": run_name, "begun": time.monotonic()}
        return SimpleNamespace(info=SimpleNamespace(run_id=id))

    def log_batch(self, run: str, params: Any = (), metrics: Any = (), tags: Any = ()) -> None:
        if run in self.runs:
            self.runs[run]["parameters"] = {param.key: param.value for param in params}

    def log_metric(self, run: str, name: str, value: float) -> None:
        self.runs[run][name] = value

    def set_tag(self, run: str, name: str, value: str) -> None:
        self.runs[run][name] = value

    def set_terminated(self, run: str, status: str) -> None:
        self.runs[run] |= {"status": status, "ended": time.monotonic()}


class Fits:
    """How many of the flow's own fits are under way at once."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._changing = threading.Lock()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        with self._changing:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            return train.fit(*arguments, **named)
        finally:
            with self._changing:
                self._now -= 1


rows = pd.read_csv(code / "build/train.csv")
new = rows.sample(300, random_state=1)
data = freeze(train=rows.drop(new.index), test=pd.read_csv(code / "build/test.csv"), new=new, target=train.TARGET)
client, fits = Client(), Fits()
run = Retraining.__new__(Retraining)
run.access, run.seed, run.run_id, run.experiment_id = SimpleNamespace(client=client), 0, "the-run", "the-experiment"
run.judged_by = metric("accuracy")
flows.fit = fits
began, cpu = time.monotonic(), time.process_time()
parameters = flows.search.fn(run, data, trials, parallel)
seconds = time.monotonic() - began
print(
    json.dumps(
        {
            "parameters": parameters,
            "runs": list(client.runs.values()),
            "fits at once": fits.most,
            "seconds": seconds,
            "cores": (time.process_time() - cpu) / seconds,
            "flow": flows.retrain.name,
        }
    )
)
