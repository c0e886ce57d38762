# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The latest ids of a partition, so that a record that was sent twice is scored once."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


class RecentIds:
    """A bounded window of ids. Ids are kept as they are and hashed only to leave: eight bytes each, BLAKE2b."""

    def __init__(self, size: int) -> None:
        self._size = size
        # What came back from a snapshot is known by its hash alone.
        self._order: deque[str | int] = deque()
        self._known: set[str | int] = set()
        self._hashes = 0

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, item: str) -> bool:
        return item in self._known or (self._hashes > 0 and _hash(item) in self._known)

    def add(self, item: str) -> None:
        """Remember one that isn't there yet."""
        self._known.add(item)
        self._order.append(item)
        if len(self._order) > self._size:
            oldest = self._order.popleft()
            self._known.discard(oldest)
            if self._hashes:
                self._hashes -= 1

    def state(self) -> NDArray[np.uint64]:
        """Hashes, the oldest first."""
        hashes = (item if isinstance(item, int) else _hash(item) for item in self._order)
        return np.fromiter(hashes, dtype=np.uint64, count=len(self._order))

    def restore(self, state: NDArray[np.generic]) -> None:
        hashes: list[int] = state.astype(np.uint64).tolist()
        self._order = deque(hashes[max(0, len(hashes) - self._size) :])
        self._known = set(self._order)
        self._hashes = len(self._order)


def _hash(item: str) -> int:
    return int.from_bytes(blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
