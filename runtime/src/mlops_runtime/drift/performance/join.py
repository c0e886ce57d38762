# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions and their labels brought together by id, whichever comes first, with bounds on what waits.

What waits longest is dropped first, and counted. An id is kept as its 128-bit hash, so that a long one costs no more;
values are kept as bytes, which take a fraction of what small arrays would.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlops_runtime.drift.protocol import Arrays, FloatArray

ID_BYTES: Final = 16
COUNTS: Final = (
    "joined",
    "predictions_dropped",
    "labels_dropped",
    "predictions_repeated",
    "labels_repeated",
    "mismatched",
)
"""Of rows: joined, and given up as too many waited. Of messages: an id again while it waits, too few or many labels."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows whose labels are known: `scores`, shape (n, width), and `labels`, shape (n,)."""

    scores: FloatArray
    labels: FloatArray


class LabelJoin:
    """At most `predictions` rows wait for their labels, and at most `labels` labels for their predictions."""

    def __init__(self, width: int, predictions: int, labels: int) -> None:
        self._width = width
        self._predictions = Waiting(width, predictions)
        self._labels = Waiting(1, labels)
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))

    @property
    def waiting(self) -> int:
        """Rows without a label so far."""
        return self._predictions.rows

    def awaits(self, request: str) -> bool:
        """Whether the request's answers are here, and its labels aren't."""
        return key_of(request) in self._predictions

    def predicted(self, request: str, scores: FloatArray) -> Joined | None:
        """A request's answers, shape (n, width); what is joined by them, if their labels are there already."""
        key = key_of(request)
        labels = self._labels.pop(key)
        if labels is not None:
            return self._join(scores, labels[:, 0])
        if key in self._predictions:
            self.counts["predictions_repeated"] += 1
            return None
        self.counts["predictions_dropped"] += self._predictions.put(key, scores)
        return None

    def labelled(self, request: str, labels: FloatArray) -> Joined | None:
        """A request's labels, shape (n,); what is joined by them, if its answers are there."""
        key = key_of(request)
        scores = self._predictions.pop(key)
        if scores is not None:
            return self._join(scores, labels)
        if key in self._labels:
            # The newest word on a label counts.
            self.counts["labels_repeated"] += 1
            self._labels.pop(key)
        self.counts["labels_dropped"] += self._labels.put(key, labels[:, None])
        return None

    def _join(self, scores: FloatArray, labels: FloatArray) -> Joined | None:
        if len(scores) != len(labels):
            self.counts["mismatched"] += 1
            return None
        self.counts["joined"] += len(labels)
        return Joined(scores, labels)

    def state(self) -> Arrays:
        return {
            **self._predictions.state("join_predictions"),
            **self._labels.state("join_labels"),
            "join_counts": np.array([self.counts[name] for name in COUNTS], dtype=np.int64),
        }

    def restore(self, state: Arrays) -> None:
        """Raises `ValueError` where the state is of another model's answers."""
        counts = state.get("join_counts")
        if counts is None or counts.shape != (len(COUNTS),):
            raise ValueError("state has no counts of a label join")
        predictions = self._predictions.restored("join_predictions", state)
        self._labels = self._labels.restored("join_labels", state)
        self._predictions = predictions
        self.counts = Counter(dict(zip(COUNTS, map(int, counts.tolist()), strict=True)))


class Waiting:
    """Requests by key, oldest first, each with rows of `width` numbers; at most `limit` rows of them all."""

    def __init__(self, width: int, limit: int) -> None:
        self._width = width
        self._limit = limit
        self._held: dict[bytes, bytes] = {}
        self.rows = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._held

    def put(self, key: bytes, values: FloatArray) -> int:
        """How many rows had to go for it; its own, where it alone is too large."""
        if len(values) > self._limit:
            return len(values)
        self._held[key] = np.ascontiguousarray(values, dtype=np.float64).tobytes()
        self.rows += len(values)
        dropped = 0
        while self.rows > self._limit:
            rows = len(self._held.pop(next(iter(self._held)))) // self._row_bytes
            self.rows -= rows
            dropped += rows
        return dropped

    def pop(self, key: bytes) -> FloatArray | None:
        held = self._held.pop(key, None)
        if held is None:
            return None
        values = np.frombuffer(held, dtype=np.float64).reshape(-1, self._width)
        self.rows -= len(values)
        return values

    @property
    def _row_bytes(self) -> int:
        return 8 * self._width

    def state(self, name: str) -> Arrays:
        lengths = [len(held) // self._row_bytes for held in self._held.values()]
        keys = np.frombuffer(b"".join(self._held), dtype=np.uint8).reshape(-1, ID_BYTES)
        values = np.frombuffer(b"".join(self._held.values()), dtype=np.float64).reshape(-1, self._width)
        return {f"{name}_keys": keys, f"{name}_rows": np.array(lengths, dtype=np.int64), f"{name}_values": values}

    def restored(self, name: str, state: Arrays) -> Waiting:
        try:
            keys, rows, values = (state[f"{name}_{part}"] for part in ("keys", "rows", "values"))
        except KeyError as error:
            raise ValueError(f"state has no array {error}: it is of something else") from error
        if values.shape != (int(rows.sum()), self._width) or keys.shape != (len(rows), ID_BYTES):
            raise ValueError(
                f"state's {name} are {list(values.shape)} values of {len(keys)} requests: of another model"
            )
        fresh = Waiting(self._width, self._limit)
        lengths = rows.astype(np.int64)
        ends = np.cumsum(lengths)
        for key, start, end in zip(keys, (ends - lengths).tolist(), ends.tolist(), strict=True):
            fresh.put(key.tobytes(), values[start:end].astype(np.float64))
        return fresh


def key_of(request: str) -> bytes:
    return hashlib.blake2b(request.encode("utf-8", "surrogatepass"), digest_size=ID_BYTES).digest()
