# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The node's cache of models: one directory a tree digest, shared by all replicas on the node, across containers.

An entry appears under its name whole and checked, or not at all. Locks are flock's: the kernel drops them with the
process.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlops_runtime.contracts.digest import tree_digest

log = logging.getLogger(__name__)

_LOCKS = ".locks"
_FETCH = ".fetch"
_HALF_DAY = 43200.0


class CacheError(Exception):
    """The cache can't be used, or what was fetched isn't what was asked for."""


class Cache:
    def __init__(self, root: Path, keep: int) -> None:
        self._root = root
        self._keep = keep
        self._held: list[int] = []

    def get(self, digest: str, fetch: Callable[[Path], None]) -> Path:
        """The directory with this tree digest, fetched if it isn't there or was damaged.

        `fetch` fills the directory that it is given. The entry stays as long as this process lives.
        """
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise CacheError(f"{digest!r} is no SHA-256")
        try:
            (self._root / _LOCKS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(f"the model cache {self._root} can't be written: {error}") from error
        entry = self._root / digest
        # Two locks: those who use an entry hold one against eviction; the other is for who fetches it.
        use = self._lock(digest, fcntl.LOCK_SH)
        os.set_inheritable(use, True)
        self._held.append(use)
        if not self._is_sound(entry, digest):
            fetching = self._lock(f"{digest}{_FETCH}", fcntl.LOCK_EX)
            try:
                if not self._is_sound(entry, digest):
                    self._fill(entry, digest, fetch)
            finally:
                os.close(fetching)
        with contextlib.suppress(OSError):
            os.utime(self._root / _LOCKS / digest)
        self._evict(digest)
        return entry

    def _lock(self, name: str, kind: int) -> int:
        try:
            lock = os.open(self._root / _LOCKS / name, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise CacheError(f"the model cache {self._root} can't be written: {error}") from error
        fcntl.flock(lock, kind)
        return lock

    def _is_sound(self, entry: Path, digest: str) -> bool:
        if not entry.is_dir():
            return False
        if tree_digest(entry) == digest:
            return True
        log.warning("%s is damaged and will be fetched again", entry)
        return False

    def _fill(self, entry: Path, digest: str, fetch: Callable[[Path], None]) -> None:
        scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=self._root))
        try:
            fetch(scratch)
            found = tree_digest(scratch)
            if found != digest:
                raise CacheError(f"the files fetched have the digest {found}, not {digest} as registered")
            scratch.chmod(0o755)
            if entry.exists():
                damaged = Path(tempfile.mkdtemp(prefix=".fetch-", dir=self._root))
                entry.rename(damaged / "damaged")
                shutil.rmtree(damaged, ignore_errors=True)
            scratch.rename(entry)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _evict(self, current: str) -> None:
        """Remove what is beyond the last used few and in nobody's use, and what interrupted fetches left."""
        with self._only_one() as alone:
            if not alone:
                return
            used = sorted((self._root / _LOCKS).iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            entries = [path for path in used if path.name != current and (self._root / path.name).is_dir()]
            for path in entries[max(0, self._keep - 1) :]:
                with path.open("rb+") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                    shutil.rmtree(self._root / path.name, ignore_errors=True)
                    log.info("Removed %s from the model cache", path.name)
            for left in self._root.glob(".fetch-*"):
                with contextlib.suppress(OSError):
                    if time.time() - left.stat().st_mtime > _HALF_DAY:
                        shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def _only_one(self) -> Iterator[bool]:
        with (self._root / ".evict").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
