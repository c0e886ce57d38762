# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is never trained on: the old part, which is the champion's test set, and the newest labelled slice."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import pandas as pd

from mlops_runtime.pipelines.errors import TooFewLabels, UnfitRows
from mlops_runtime.pipelines.rows import (
    INDEX,
    aligned,
    digest,
    from_file,
    identified,
    request_of,
    together,
    unlike,
    without,
)

SHARE = 0.3
MINIMUM = 50


@dataclass(frozen=True, eq=False)
class Data:
    """What a retraining works on. The index of each frame says which observations its rows are (rows.py)."""

    train: pd.DataFrame
    """Old and new rows to learn from, with the target."""
    old: pd.DataFrame
    """The holdout's old part: the champion's test set."""
    new: pd.DataFrame
    """The holdout's new part: the newest labelled slice."""
    recent: pd.DataFrame
    """The newer rows of `train`: those that the champion hasn't learnt from."""
    target: str
    sha256: str
    """Of the holdout: which observations, and what they hold."""

    @property
    def features(self) -> list[str]:
        return [str(name) for name in self.train.columns if name != self.target]


def freeze(
    *,
    train: pd.DataFrame,
    test: pd.DataFrame,
    new: pd.DataFrame,
    target: str,
    share: float = SHARE,
    minimum: int = MINIMUM,
    count: int | None = None,
    where: str = "are new",
) -> Data:
    """Divide what there is. The same rows give the same holdout, whatever `train` and `test` are sorted by.

    `train` and `test`: the champion's. `new`: labelled rows, the oldest first; what the champion has already is left
    out, and so is what may be a row of `test` under another name. The last `share` of them, in whole requests, is the
    newest slice; it has `minimum` rows at least, and leaves one to learn from. With `count` it has so many.
    Raises TooFewLabels, UnfitRows, ValueError.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; it has to be between 0 and 1")
    if minimum < 1 or (count is not None and count < 1):
        raise ValueError(f"minimum is {minimum}, count {count}; they have to be 1 or more")
    if target not in train.columns:
        raise UnfitRows(f"the champion's training set has no column {target}, which is to be the target")
    known = identified(train)
    old = identified(aligned(test, train, "the champion's test set"))
    fresh = aligned(new, train, "new rows")
    fresh = fresh if fresh.index.name == INDEX else from_file(fresh)
    fresh = unlike(without(together([fresh]), old, known), old)
    wanted = max(minimum, min(math.ceil(share * len(fresh)), len(fresh) - 1)) if count is None else count
    newest = _newest(fresh, wanted, where)
    recent = without(fresh, newest)
    return Data(
        train=together([without(known, old, newest), recent]),
        old=old,
        new=newest,
        recent=recent,
        target=target,
        sha256=digest_of(old, newest),
    )


def digest_of(old: pd.DataFrame, new: pd.DataFrame) -> str:
    """SHA-256 of a holdout: which observations, and what they hold."""
    return hashlib.sha256(f"old {digest(old)}\nnew {digest(new)}\n".encode()).hexdigest()


def _newest(fresh: pd.DataFrame, wanted: int, where: str) -> pd.DataFrame:
    """The last rows, so many or a few more, without dividing a request."""
    if len(fresh) <= wanted:
        raise TooFewLabels(len(fresh), wanted + 1, where)
    requests = [request_of(str(name)) for name in fresh.index]
    chosen = set(requests[len(fresh) - wanted :])
    slice_ = fresh[[request in chosen for request in requests]]
    if len(slice_) == len(fresh):
        raise TooFewLabels(len(fresh), len(fresh) + 1, f"{where}, all in the requests of the newest slice")
    return slice_
