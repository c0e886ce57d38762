# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The registry: models with a declaration, and the versions that its aliases name."""

from __future__ import annotations

from typing import Any

from mlops_runtime.contracts.mlflow import SPEC_TAG, Mlflow, tags_of
from mlops_runtime.contracts.tags import EPISODE, PROMOTION
from mlops_runtime.lifecycle.ledger.models import ALIASES, Model


def read(mlflow: Mlflow) -> tuple[list[Model], int]:
    """Those with a declaration, whether it is sound or not, and how many models there are at all.

    Blocks; raises MlflowError.
    """
    found = list(mlflow.registered_models())
    return [model for item in found if (model := _model(item))], len(found)


def made(mlflow: Mlflow, episode: str) -> str:
    """The version that a retraining has made for an episode, and what became of it; empty where it made none.

    Blocks; raises MlflowError.
    """
    wanted = {"filter": f"tags.`{EPISODE}` = '{episode}'", "max_results": "1"}
    found = mlflow.api("model-versions/search", wanted).get("model_versions") or []
    told = tags_of(found[0]).get(PROMOTION, "") if found else ""
    return f"it made version {found[0]['version']}: {told or 'not promoted yet'}" if found else ""


def _model(item: dict[str, Any]) -> Model | None:
    spec = next((tag.get("value") for tag in item.get("tags", []) if tag.get("key") == SPEC_TAG), None)
    if not spec:
        return None
    aliases = {one["alias"]: str(one["version"]) for one in item.get("aliases", []) if one["alias"] in ALIASES}
    return Model(str(item["name"]), str(spec), aliases)
