# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Whose stream is kept, and for how long: models whose declaration has `drift.archive`."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from mlops_runtime.contracts.mlflow import SPEC_TAG, Mlflow, spec_of
from mlops_runtime.drift.archive.settings import duration

log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""What is a topic's name as well as a directory's."""


def archived_models(mlflow: Mlflow, default: timedelta | None) -> dict[str, timedelta | None]:
    """Retention by model; None: for ever. Raises `MlflowError`."""
    found: dict[str, timedelta | None] = {}
    for model in mlflow.registered_models():
        archive = _archive(model)
        if archive is None:
            continue
        name = str(model.get("name"))
        if not _NAME.fullmatch(name):
            log.warning("The stream of model %r isn't kept: its name is no topic's", name)
            continue
        found[name] = _retention(name, archive, default)
    return found


def _archive(model: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The declaration's `drift.archive`; None where the stream isn't to be kept."""
    try:
        drift = spec_of(model).get("drift")
    except ValueError:
        log.warning("Model %s: its tag %s is no JSON", model.get("name"), SPEC_TAG)
        return None
    archive = drift.get("archive") if isinstance(drift, dict) else None
    if archive is True:
        return {}
    return archive if isinstance(archive, dict) else None


def _retention(name: str, archive: Mapping[str, Any], default: timedelta | None) -> timedelta | None:
    text = archive.get("retention")
    if not text:
        return default
    try:
        return duration(str(text))
    except ValueError as error:
        # Kept rather than deleted: nobody gets back what is gone.
        log.warning("Model %s: drift.archive.retention: %s; its stream is kept for ever", name, error)
        return None
