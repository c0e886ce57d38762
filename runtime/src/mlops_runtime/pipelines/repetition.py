# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A version's run once more, with its data, its seed and its champion: what it finds is compared, nothing is made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mlops_runtime.contracts.mlflow import tags_of
from mlops_runtime.pipelines import holdout, registration
from mlops_runtime.pipelines.access import Access
from mlops_runtime.pipelines.datasets import frame_of
from mlops_runtime.pipelines.errors import PipelineError, TamperedDataset
from mlops_runtime.pipelines.rows import without

REPEATS: Final = "mlops.repeats"
"""Of a run: the version whose making it repeats."""
SEED: Final = "mlops.seed"
PARAMETERS: Final = "mlops.flow.parameters"
"""Of a run: JSON, the flow's parameters beyond those that are its own each time."""
OF_EACH_RUN: Final = frozenset({"model", "version", "episode", "repeats"})
_COMPARED: Final = ("rows_", "tuned_", "trials", "gate_")
_TOLERANCE: Final = 1e-6


@dataclass(frozen=True)
class Original:
    """A version that a retraining has made, and its run."""

    version: str
    tags: Mapping[str, str]
    """The version's."""
    run_tags: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def champion(self) -> str:
        """The version that it was judged against."""
        return self.tags[registration.PARENT]

    @property
    def seed(self) -> int:
        return int(self.run_tags[SEED])

    def check(self, pipeline: str, parameters: str) -> None:
        """That this is the same code, with the same parameters. Raises PipelineError."""
        made_by = self.tags.get(registration.PIPELINE, "")
        if pipeline != made_by:
            raise PipelineError(
                f"version {self.version} was made by the pipeline {made_by or '(unknown)'}, and this is "
                f"{pipeline or '(unknown)'}: run a deployment whose pull step names that one (docs/pipelines.md)"
            )
        before = self.run_tags.get(PARAMETERS, "")
        if before and parameters and before != parameters:
            raise PipelineError(
                f"version {self.version} was made with the parameters {before}, and these are {parameters}"
            )

    def data(self, access: Access, model: str, learnt: pd.DataFrame, target: str, directory: Path) -> holdout.Data:
        """What it was trained and judged on, as the registry has kept it. `learnt`: the champion's training set.

        Raises MissingDataset, TamperedDataset, MlflowError.
        """
        parts = {
            name: frame_of(access, model, self.version, context, directory, name)
            for name, context in registration.PARTS.items()
        }
        data = holdout.Data(
            **parts,
            recent=without(parts["train"], learnt),
            target=target,
            sha256=holdout.digest_of(parts["old"], parts["new"]),
        )
        if data.sha256 != self.tags.get(registration.HOLDOUT):
            raise TamperedDataset(
                f"the holdout of version {self.version} has the hash {data.sha256}, and was registered with "
                f"{self.tags.get(registration.HOLDOUT) or 'none'}"
            )
        return data

    def differences(self, metrics: Mapping[str, float]) -> list[str]:
        """What a run that repeats it has found otherwise."""
        found = []
        for name, before in sorted(self.metrics.items()):
            now = metrics.get(name, math.nan)
            if name.startswith(_COMPARED) and not math.isclose(now, before, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
                found.append(f"{name} was {before:.6g} and is {now:.6g}")
        return found


def original(access: Access, model: str, version: str) -> Original:
    """Raises PipelineError where no retraining has made that version, MlflowError."""
    known = access.mlflow.version(model, version)
    tags = tags_of(known)
    if not tags.get(registration.PARENT) or not known.get("run_id"):
        raise PipelineError(f"version {version} of {model} wasn't made by a retraining: there is nothing to repeat")
    data = access.run(str(known["run_id"]))["data"]
    return Original(version, tags, tags_of(data), metrics_of(data))


def metrics_of(data: Mapping[str, Any]) -> dict[str, float]:
    """A run's metrics, each by its last value."""
    return {str(one["key"]): float(one["value"]) for one in data.get("metrics", [])}


def parameters_of(flow: Mapping[str, Any]) -> str:
    """A flow run's parameters as a tag has them."""
    return json.dumps(
        {key: value for key, value in flow.items() if key not in OF_EACH_RUN}, sort_keys=True, default=str
    )
