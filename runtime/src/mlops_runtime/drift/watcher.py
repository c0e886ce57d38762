# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What watches one model version on one partition of its stream: detectors of what goes in and of what comes out, and
the data's quality."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mlops_runtime.drift.artefact import Artefact
from mlops_runtime.drift.embedding import from_manifest
from mlops_runtime.drift.outputs import Outputs
from mlops_runtime.drift.protocol import Alarm, Arrays, Detector, Feature, FloatArray, Reading
from mlops_runtime.drift.quality import Quality
from mlops_runtime.drift.registry import detector_class
from mlops_runtime.drift.schema import Reason, Rejected, RowReader

log = logging.getLogger(__name__)


class Watcher:
    """Rows of a version in, alarms out; its state can leave and come back."""

    def __init__(self, artefact: Artefact) -> None:
        """Raises ValueError for a detector that doesn't exist or whose arrays don't fit."""
        self.schema = artefact.schema
        self.sha256 = artefact.sha256
        self.rows = 0
        self.quality = Quality(artefact.schema)
        self.preprocessing = from_manifest(artefact.preprocessing) if artefact.preprocessing else None
        """Makes rows of what isn't tabular."""
        self.outputs = Outputs.from_manifest(artefact.outputs) if artefact.outputs else None
        self._of_outputs = {fitted.name for fitted in artefact.detectors if fitted.of_outputs}
        self.detectors: dict[str, Detector] = {}
        self.failed: dict[str, str] = {}
        """Detectors that were switched off, and why: the others go on."""
        for fitted in artefact.detectors:
            found = detector_class(fitted.kind)
            features = self._features(fitted.of_outputs)
            try:
                self.detectors[fitted.name] = found.load(fitted.arrays, fitted.parameters, features)
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise ValueError(f"detector {fitted.name!r} ({fitted.kind}) can't be loaded: {error!r}") from error

    def _features(self, of_outputs: bool) -> tuple[Feature, ...]:
        if not of_outputs:
            return self.schema.features
        if self.outputs is None:
            raise ValueError("a detector watches the outputs, and what they are isn't told")
        return self.outputs.features

    @property
    def is_plain(self) -> bool:
        """Whether nothing but `X` of a record is looked at."""
        return self.preprocessing is None and self.outputs is None

    def read_outputs(self, record: Mapping[str, Any]) -> FloatArray | None:
        """A record's answers, shape (n, outputs), n 0 where it has none; None where they aren't watched.

        Raises Rejected.
        """
        if self.outputs is None:
            return None
        answers = record.get("Y")
        if answers is None:
            return np.full((0, len(self.outputs.features)), np.nan)
        if type(answers) is not list:
            raise Rejected(Reason.WRONG_OUTPUT, "Y is no list of answers")
        try:
            rows = [self.outputs.row(self.outputs.scores(answer)) for answer in answers]
        except (TypeError, ValueError) as error:
            raise Rejected(Reason.WRONG_OUTPUT, str(error)[:300]) from None
        return np.array(rows, dtype=np.float64).reshape(len(rows), -1)

    def read_inputs(self, record: Mapping[str, Any], reader: RowReader, answers: FloatArray | None) -> int:
        """Add a record's rows to `reader`; returns how many. Raises Rejected, and then none is added."""
        if self.preprocessing is None:
            _match(answers, record.get("X"))
            return reader.add(record.get("X"), record.get("names"))
        try:
            rows = self.preprocessing.rows(record)
        except (TypeError, ValueError) as error:
            raise Rejected(Reason.WRONG_PAYLOAD, str(error)[:300]) from None
        _match(answers, rows)
        return reader.extend(rows)

    def score(self, rows: FloatArray, times: FloatArray, answers: FloatArray | None = None) -> list[tuple[str, Alarm]]:
        """Take in rows, shape (n, features), of times, shape (n,), and the model's answers to them, shape (n, outputs).

        Returns alarms by row, each with its detector's name.
        """
        self.rows += len(rows)
        self.quality.observe(rows)
        alarms: list[tuple[str, Alarm]] = []
        for name, detector in self.detectors.items():
            if name in self.failed:
                continue
            try:
                if name not in self._of_outputs:
                    alarms += [(name, alarm) for alarm in detector.score_many(rows, times)]
                elif answers is not None:
                    alarms += [(name, alarm) for alarm in detector.score_many(answers, times)]
            except Exception as error:  # A detector's fault is that detector's alone.
                log.exception("The detector %s failed and is off", name)
                self.failed[name] = f"{type(error).__name__}: {error}"
        alarms.sort(key=lambda found: found[1].row)
        return alarms

    def readings(self) -> Iterator[tuple[str, Reading]]:
        for name, detector in self.detectors.items():
            if name not in self.failed:
                for reading in detector.readings():
                    yield name, reading

    def state(self) -> Arrays:
        """Everything learnt from the stream: `quality/...` and `detector/<name>/...`."""
        arrays = {f"quality/{name}": values for name, values in self.quality.state().items()}
        for name, detector in self.detectors.items():
            if name not in self.failed:
                arrays |= {f"detector/{name}/{key}": values for key, values in detector.state().items()}
        return arrays

    def restore(self, rows: int, failed: dict[str, str], state: Arrays) -> list[str]:
        """Go on from `state()`. Returns the detectors that can't go on exactly and begin anew. Raises ValueError."""
        self.rows, self.failed = rows, dict(failed)
        self.quality.restore(_below(state, "quality/"))
        anew = []
        for name, detector in self.detectors.items():
            if name in self.failed:
                continue
            if detector.restarts_exactly:
                detector.restore(_below(state, f"detector/{name}/"))
            else:
                anew.append(name)
        return anew


def _below(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def _match(answers: FloatArray | None, rows: Any) -> None:
    if answers is not None and len(answers) and isinstance(rows, list | np.ndarray) and len(answers) != len(rows):
        raise Rejected(Reason.WRONG_OUTPUT, f"{len(answers)} answers to {len(rows)} rows")
