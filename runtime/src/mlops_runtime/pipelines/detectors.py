# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The new version's detectors: those of its declaration, fitted on what it is to be watched against from now on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
from _model_spec.drift import Drift

from mlops_runtime.contracts.digest import file_digest
from mlops_runtime.drift.artefact import MANIFEST
from mlops_runtime.drift.fitting import fit
from mlops_runtime.drift.outputs import class_name
from mlops_runtime.drift.protocol import UnfitReference
from mlops_runtime.pipelines.answers import Predictor
from mlops_runtime.pipelines.holdout import Data
from mlops_runtime.pipelines.rows import together

FOLDER: Final = "drift"
log = logging.getLogger(__name__)


def fit_detectors(
    drift: Drift,
    model: str,
    challenger: Predictor,
    data: Data,
    directory: Path,
    *,
    chances: bool = True,
    performance: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Fit, and write the artefact to `directory`.

    The reference is the new rows, holdout included, and the performance that of the newest slice: what came before the
    drift would raise the same alarm again. Where those are too few for what is declared, all rows and the whole holdout
    are taken. Performance is watched where the declaration says that labels arrive; `performance` has its parameters.
    `chances`: whether it serves probabilities, where it has them, or the class.
    Raises UnfitReference, UnfitData, ValueError.
    """
    recent = together([data.recent, data.new])
    try:
        _fit(drift, model, challenger, data, recent, data.new, directory, chances, performance, seed)
    except UnfitReference as error:
        log.warning("The new rows are too few to watch against, so all rows are taken: %s", error)
        everything, both = together([data.train, data.old, data.new]), together([data.old, data.new])
        _fit(drift, model, challenger, data, everything, both, directory, chances, performance, seed)


def sha256_of(directory: Path) -> str:
    """The hash that an artefact is known by: its manifest's, which has those of all else."""
    return file_digest(directory / MANIFEST)


def _fit(
    drift: Drift,
    model: str,
    challenger: Predictor,
    data: Data,
    reference: pd.DataFrame,
    tested: pd.DataFrame,
    directory: Path,
    chances: bool,
    performance: Mapping[str, Any] | None,
    seed: int,
) -> None:
    watched: dict[str, Any] = {}
    if drift.labels:
        answers = challenger(tested[data.features])
        given = answers.probabilities if chances and answers.probabilities is not None else answers.predicted
        known = set(map(class_name, answers.classes))
        # Of many classes the newest slice may lack some; of one that is new to the model there is nothing to learn.
        told = [not known or class_name(label) in known for label in tested[data.target]]
        watched = {
            "outputs": given[told],
            "labels": tested[data.target][told].tolist(),
            "classes": answers.classes,
            "output_detectors": [],
            "performance": dict(performance or {}),
        }
    declared = [detector.declared() for detector in drift.detectors]
    fit(reference[data.features], detectors=declared, directory=directory, model=model, seed=seed, **watched)
