# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Why a retraining ends without a judged version. Each is an outcome with a name, which its MLflow run keeps."""

from __future__ import annotations

from typing import ClassVar


class PipelineError(Exception):
    """A retraining can't go on; the message says why, and what to do where that is known."""

    outcome: ClassVar[str] = "failed"
    """The run's tag `mlops.outcome`."""


class NoChampion(PipelineError):
    """There is nothing to be judged against: no such model, no declaration, no alias `champion`."""

    outcome = "no_champion"


class MissingDataset(PipelineError):
    """A version doesn't have the dataset that is asked for."""

    outcome = "missing_dataset"


class TamperedDataset(PipelineError):
    """A file isn't what it was when it was registered: both hashes are in the message."""

    outcome = "tampered_dataset"


class TamperedModel(PipelineError):
    """A model's files aren't those that were registered: both hashes are in the message."""

    outcome = "tampered_model"


class UnfitRows(PipelineError):
    """Rows that the model can't learn from: a column is missing, or holds what it never held."""

    outcome = "unfit_rows"


class TooFewLabels(PipelineError):
    """The newest labelled slice would be smaller than what may be judged on."""

    outcome = "too_few_labels"

    def __init__(self, found: int, needed: int, where: str) -> None:
        super().__init__(
            f"{found} labelled rows {where}, {needed} are needed: nothing was trained; wait for more labels, or bring "
            "rows in files"
        )
        self.found = found
        self.needed = needed


class NoTrial(PipelineError):
    """Every trial of a tuning failed; the message has the first reason."""

    outcome = "no_trial_succeeded"


class TaskFailed(PipelineError):
    """A task of the flow has failed, whatever the flow made of it."""

    outcome = "task_failed"


class NotRepeated(PipelineError):
    """A run that was to repeat another one has found something else; the message says what."""

    outcome = "not_repeated"
