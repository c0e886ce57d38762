# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The model server: Seldon's v1 contract for a container, on current libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_runtime.serving.mlflow_model import MLflowModel

__all__ = ["MLflowModel"]


def __getattr__(name: str) -> Any:
    # Late, because the part that fetches a model runs where there is no numpy.
    if name == "MLflowModel":
        from mlops_runtime.serving.mlflow_model import MLflowModel

        return MLflowModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
