# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What watches one model version on one partition of its stream: detectors of what goes in and of what comes out, the
data's quality, and how well the model does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlops_runtime.drift.artefact import Artefact
from mlops_runtime.drift.embedding import from_manifest
from mlops_runtime.drift.outputs import Outputs
from mlops_runtime.drift.performance import PERFORMANCE, PerformanceMonitor
from mlops_runtime.drift.protocol import Alarm, Arrays, Detector, Feature, FloatArray, Reading
from mlops_runtime.drift.quality import Quality
from mlops_runtime.drift.registry import detector_class
from mlops_runtime.drift.schema import Reason, Rejected, RowReader

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """An alarm, whose it is, and the place of its row among those that were scored."""

    detector: str
    place: int
    alarm: Alarm


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
        self._performance: PerformanceMonitor | None = None
        if artefact.performance is not None:
            if self.outputs is None:
                raise ValueError("performance is watched, and what the outputs are isn't told")
            kept = artefact.performance
            self._performance = PerformanceMonitor.load(kept.arrays, kept.parameters, self.outputs)

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

    @property
    def performance(self) -> PerformanceMonitor | None:
        """None where it isn't watched, or was switched off."""
        return None if PERFORMANCE in self.failed else self._performance

    def read_outputs(self, record: Mapping[str, Any]) -> FloatArray | None:
        """The scores of a record's answers, shape (n, numbers), n 0 where it has none; None where they aren't watched.

        Raises Rejected.
        """
        if self.outputs is None:
            return None
        answers = record.get("Y")
        if answers is None:
            return np.full((0, self.outputs.score_width), np.nan)
        if type(answers) is not list:
            raise Rejected(Reason.WRONG_OUTPUT, "Y is no list of answers")
        try:
            return self.outputs.scores_many(answers)
        except (TypeError, ValueError) as error:
            raise Rejected(Reason.WRONG_OUTPUT, str(error)[:300]) from None

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

    def score(
        self,
        rows: FloatArray,
        times: FloatArray,
        answers: FloatArray | None = None,
        requests: Sequence[tuple[str, int]] = (),
    ) -> list[Found]:
        """Take in rows, shape (n, features), of times, shape (n,); the scores of the model's answers to them, shape
        (n, numbers); and whose they are: each request's id, empty where it has none, and the number of its rows.

        Returns alarms in the rows' order.
        """
        before = self.rows
        self.rows += len(rows)
        self.quality.observe(rows)
        answered = None if answers is None or self.outputs is None else self.outputs.rows(answers)
        found: list[Found] = []
        for name, detector in self.detectors.items():
            watched = answered if name in self._of_outputs else rows
            if name in self.failed or watched is None:
                continue
            try:
                for alarm in detector.score_many(watched, times):
                    found.append(Found(name, min(max(alarm.row - before, 1), len(rows)) - 1, alarm))
            except Exception as error:  # A detector's fault is that detector's alone.
                self._switch_off(name, error)
        if answers is not None and (performance := self.performance):
            try:
                found += [Found(PERFORMANCE, *placed) for placed in performance.predicted(requests, answers)]
            except Exception as error:
                self._switch_off(PERFORMANCE, error)
        found.sort(key=lambda one: one.place)
        return found

    def awaits(self, request: str) -> bool:
        """Whether the request's answers wait for their label."""
        performance = self.performance
        return performance is not None and performance.awaits(request)

    def label(self, request: str, label: Any) -> list[Alarm]:
        """A label's `y`. Raises ValueError where it can't be of this model."""
        performance = self.performance
        return performance.labelled(request, label) if performance else []

    def _switch_off(self, name: str, error: Exception) -> None:
        log.error("The detector %s failed and is off", name, exc_info=error)
        self.failed[name] = f"{type(error).__name__}: {error}"

    def readings(self) -> Iterator[tuple[str, Reading]]:
        for name, detector in self.detectors.items():
            if name not in self.failed:
                for reading in detector.readings():
                    yield name, reading
        if self.performance:
            for reading in self.performance.readings():
                yield PERFORMANCE, reading

    def state(self) -> Arrays:
        """Everything learnt from the stream: `quality/...`, `detector/<name>/...` and `performance/...`."""
        arrays = {f"quality/{name}": values for name, values in self.quality.state().items()}
        for name, detector in self.detectors.items():
            if name not in self.failed:
                arrays |= {f"detector/{name}/{key}": values for key, values in detector.state().items()}
        if self.performance:
            arrays |= {f"{PERFORMANCE}/{key}": values for key, values in self.performance.state().items()}
        return arrays

    def restore(self, rows: int, failed: dict[str, str], state: Arrays) -> list[str]:
        """Go on from `state()`. Returns the detectors that can't go on exactly and begin anew. Raises ValueError."""
        self.rows, self.failed = rows, dict(failed)
        self.quality.restore(_below(state, "quality/"))
        if self.performance:
            self.performance.restore(_below(state, f"{PERFORMANCE}/"))
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
