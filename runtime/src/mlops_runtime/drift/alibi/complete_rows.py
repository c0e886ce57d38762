# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Windows of rows that have all their values: what the library's tests take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlops_runtime.drift.latch import expect
from mlops_runtime.drift.offline.detector import MINIMUM_REFERENCE, WindowDetector, sample
from mlops_runtime.drift.offline.parameters import Options
from mlops_runtime.drift.protocol import Alarm, Arrays, Feature, FloatArray, Parameters, Reference, UnfitReference


class CompleteRows(WindowDetector):
    """Rows with a missing value are left out of the windows, and counted; an alarm's row counts them all the same."""

    def __init__(self, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> None:
        self._rows_seen = 0
        self.rows_skipped = 0
        super().__init__(fitted, parameters, features)

    @classmethod
    def _fit(cls, reference: Reference, options: Options) -> Arrays:
        return {"sample": complete_sample(cls.kind, reference, options.integer("reference_rows", minimum=100))}

    def score_many(self, rows: FloatArray, times: FloatArray) -> list[Alarm]:
        whole = np.flatnonzero(np.isfinite(rows).all(axis=1))
        before = self._window.total
        alarms = super().score_many(rows[whole], times[whole])
        found = [replace(alarm, row=self._rows_seen + int(whole[alarm.row - before - 1]) + 1) for alarm in alarms]
        self._rows_seen += len(rows)
        self.rows_skipped += len(rows) - len(whole)
        return found

    def state(self) -> Arrays:
        counts = np.array([self._rows_seen, self.rows_skipped], dtype=np.int64)
        return {**super().state(), "row_counts": counts}

    def restore(self, state: Arrays) -> None:
        expect(state, "row_counts", np.zeros(2, dtype=np.int64))
        super().restore(state)
        self._rows_seen, self.rows_skipped = (int(count) for count in state["row_counts"].tolist())


def complete_sample(kind: str, reference: Reference, count: int) -> FloatArray:
    whole = reference.rows[np.isfinite(reference.rows).all(axis=1)]
    if len(whole) < MINIMUM_REFERENCE:
        raise UnfitReference(
            f"{kind}: {len(whole)} of {len(reference.rows)} rows have all their values; {MINIMUM_REFERENCE} are "
            "needed, since its tests take no missing ones"
        )
    return sample(whole, count, reference.seed)
