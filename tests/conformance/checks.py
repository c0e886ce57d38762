# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the checks of a conformance script one after the other, says what became of each, and gives the exit code."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable


def run(checks: Iterable[tuple[str, Callable[[], object]]]) -> int:
    failed = 0
    for what, check in checks:
        try:
            check()
        except AssertionError as error:
            failed += 1
            print(f"FAILED  {what}: {error}")
        except Exception:
            failed += 1
            print(f"FAILED  {what}:\n{traceback.format_exc()}")
        else:
            print(f"ok      {what}")
    return 1 if failed else 0


def equal(found: object, wanted: object, what: object = "") -> None:
    if found != wanted:
        raise AssertionError(f"{wanted} was expected, but there is {found} {what}".rstrip())


def eventually(holds: Callable[[], str], patience: float) -> float:
    """Waits, at most so many seconds, until `holds` has no complaint any more; the seconds that it took."""
    begun = time.monotonic()
    while complaint := holds():
        if time.monotonic() - begun > patience:
            raise AssertionError(f"after {patience} s: {complaint}")
        time.sleep(1)
    return time.monotonic() - begun
