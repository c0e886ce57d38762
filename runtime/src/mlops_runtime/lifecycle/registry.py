# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The registry: models with a declaration, and the versions that its aliases name."""

from __future__ import annotations

from typing import Any

from mlops_runtime.contracts.mlflow import SPEC_TAG, Mlflow
from mlops_runtime.lifecycle.ledger.models import ALIASES, Model


def read(mlflow: Mlflow) -> tuple[list[Model], int]:
    """Those with a declaration, whether it is sound or not, and how many models there are at all.

    Blocks; raises MlflowError.
    """
    found = list(mlflow.registered_models())
    return [model for item in found if (model := _model(item))], len(found)


def _model(item: dict[str, Any]) -> Model | None:
    spec = next((tag.get("value") for tag in item.get("tags", []) if tag.get("key") == SPEC_TAG), None)
    if not spec:
        return None
    aliases = {one["alias"]: str(one["version"]) for one in item.get("aliases", []) if one["alias"] in ALIASES}
    return Model(str(item["name"]), str(spec), aliases)
