# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a training flow calls: datasets, new data, tuning, the gate, registration, promotion (docs/pipelines.md).

with retraining(model, version, episode, target="is_phishing") as run:
    data = run.data()
    ...

What needs pandas, Optuna or MLflow's client is imported when it is used: the side that packs a flow's code needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_runtime.pipelines.run import Retraining, retraining

__all__ = ["Retraining", "retraining"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mlops_runtime.pipelines import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
