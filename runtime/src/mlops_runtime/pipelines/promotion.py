# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Moving the alias `champion`: only for a winner, only where the declaration says so, only if it is where it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from _model_spec import Retraining as Declaration

from mlops_runtime.contracts.mlflow import tags_of
from mlops_runtime.contracts.tags import PROMOTION
from mlops_runtime.pipelines.access import CHAMPION, Access
from mlops_runtime.pipelines.gate import REASONS as GATE_REASONS
from mlops_runtime.pipelines.gate import TAG as GATE_TAG
from mlops_runtime.pipelines.gate import WON

PREVIOUS: Final = "mlops.previous_champion"
"""Of the registered model and of the promoted version: the version that was champion before."""
PROMOTED, REFUSED, MANUAL, SUPERSEDED = "promoted", "refused", "manual", "superseded"
REPEATED = "repeated"
"""Of a run that made none."""


@dataclass(frozen=True)
class Promotion:
    """What became of a version, and why."""

    version: str
    outcome: str
    reason: str

    @property
    def moved(self) -> bool:
        return self.outcome == PROMOTED


def promote(access: Access, model: str, version: str, declaration: Declaration | None, began_with: str) -> Promotion:
    """`began_with`: the champion when the run began. Whether the gate was won says the version's tag.

    MLflow has no exchange that compares first: what is left is the moment between reading the alias and setting it.
    Raises NoChampion where the model is gone, MlflowError.
    """
    made = _promote(access, model, version, declaration, began_with)
    access.client.set_model_version_tag(model, version, PROMOTION, f"{made.outcome}: {made.reason}")
    return made


def _promote(access: Access, model: str, version: str, declaration: Declaration | None, began_with: str) -> Promotion:
    tags = tags_of(access.mlflow.version(model, version))
    if tags.get(GATE_TAG) != WON:
        why = tags.get(GATE_REASONS, "")
        return Promotion(version, REFUSED, f"version {version} hasn't won the gate" + (f": {why}" if why else ""))
    if declaration is None or declaration.promotion != "auto":
        return Promotion(version, MANUAL, f"version {version} has won; a person moves the alias {CHAMPION}")
    now = access.registered(model).aliases.get(CHAMPION, "")
    if now == version:
        return Promotion(version, PROMOTED, f"version {version} is champion")
    if now != began_with:
        is_now = f"version {now}" if now else "no version"
        return Promotion(
            version,
            SUPERSEDED,
            f"the champion was version {began_with} when the run began, and {is_now} has the alias now: it isn't moved",
        )
    access.client.set_registered_model_tag(model, PREVIOUS, began_with)
    access.client.set_model_version_tag(model, version, PREVIOUS, began_with)
    access.client.set_registered_model_alias(model, CHAMPION, version)
    return Promotion(version, PROMOTED, f"version {version} has won against version {began_with} and is champion")
