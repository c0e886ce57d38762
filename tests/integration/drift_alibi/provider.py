# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the provider does with the real library. Runs in a Python that has it; prints a line of JSON a check."""

from __future__ import annotations

import io
import json
import sys
import time
import traceback
from typing import Any

import numpy as np
from mlops_runtime.drift.alibi import NAMES, detector_class
from mlops_runtime.drift.protocol import Alarm, Arrays, Feature, Reference, UnfitReference

FEATURES = (Feature("a"), Feature("b"), Feature("c", ("x", "y")))
WINDOWS = {"window": 60, "step": 30, "p_value": 0.01, "reference_rows": 300}
ONLINE = {"window": 20, "expected_run_time": 400, "reference_rows": 300, "bootstraps": 1000}


def rows(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    share = 0.9 if shift else 0.5
    return np.column_stack(
        [rng.normal(shift, 1, count), rng.normal(0, 1, count), (rng.random(count) < share).astype(float)]
    )


def parameters(name: str) -> dict[str, Any]:
    return dict(ONLINE if name.endswith("_online") else WINDOWS)


def saved(arrays: Arrays) -> Arrays:
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def fed(detector: Any, stream: np.ndarray, start: int, end: int, batch: int) -> list[Alarm]:
    alarms = []
    for at in range(start, end, batch):
        until = min(end, at + batch)
        alarms += detector.score_many(stream[at:until], np.arange(at, until, dtype=float))
    return alarms


def check(name: str) -> None:
    kind = detector_class(name)
    assert kind.kind == f"alibi:{name}"
    # It has to find what it is told to find; whoever never saw the reference has the same detector.
    reference = Reference(rows(400, seed=1), FEATURES, seed=3)
    whole = kind.fit(reference, parameters(name))
    assert same(whole.fitted(), kind.fit(reference, parameters(name)).fitted()), "chance isn't held by the seed"
    stream = np.vstack([rows(150, seed=2), rows(150, seed=4, shift=2.0)])
    stream[[5, 160], [1, 0]] = np.nan
    expected = fed(whole, stream, 0, 300, 300)
    assert [alarm for alarm in expected if 150 < alarm.row <= 270], f"no alarm after the change: {expected}"
    assert whole.rows_skipped == 2

    # Killed twice, in batches of another size: the same alarms at the same rows and the same bits.
    found: list[Alarm] = []
    state = None
    for start, end in ((0, 97), (97, 203), (203, 300)):
        began = time.perf_counter()
        again = kind.load(saved(whole.fitted()), parameters(name), FEATURES)
        assert time.perf_counter() - began < 2.0, "loading takes as long as fitting"
        if state is not None:
            again.restore(saved(state))
        found += fed(again, stream, start, end, 7)
        state = again.state()
    assert kind.restarts_exactly
    assert found == expected, f"{found} after restarts, {expected} without"
    assert same(again.state(), whole.state()), "another state after restarts"
    assert again.readings() == whole.readings()

    # Nothing grows.
    size = sum(array.nbytes for array in whole.state().values())
    fed(whole, rows(300, seed=5), 0, 300, 50)
    assert sum(array.nbytes for array in whole.state().values()) == size
    assert all(array.dtype != object for array in {**whole.fitted(), **whole.state()}.values())


def check_refusals() -> None:
    reference = Reference(rows(400, seed=1), FEATURES)
    holed = reference.rows.copy()
    holed[:350, 0] = np.nan
    refused(UnfitReference, "50 of 400 rows", "ksdrift", Reference(holed, FEATURES), WINDOWS)
    refused(ValueError, "no parameter 'ert'", "mmd_online", reference, {"ert": 4})
    refused(ValueError, "permutations is 20", "mmd", reference, {**WINDOWS, "permutations": 20})
    refused(UnfitReference, "GiB", "lsdd_online", reference, {**ONLINE, "expected_run_time": 10_000, "bootstraps": 0})
    refused(ValueError, "bootstraps is 500", "mmd_online", reference, {**ONLINE, "bootstraps": 500})
    refused(UnfitReference, "it needs 600", "lsdd_online", reference, {**ONLINE, "window": 100})
    other = detector_class("mmd_online").fit(reference, ONLINE)
    fitted = other.fitted()
    fitted["split"] = fitted["split"][::-1].copy()
    try:
        detector_class("mmd_online").load(fitted, ONLINE, FEATURES)
    except ValueError as error:
        assert "splits the reference otherwise" in str(error)
    else:
        raise AssertionError("a detector with another split was loaded")


def refused(kind: type[Exception], message: str, name: str, reference: Reference, given: dict[str, Any]) -> None:
    try:
        detector_class(name).fit(reference, given)
    except kind as error:
        assert message in str(error), error
    else:
        raise AssertionError(f"{name} took {given}")


def same(left: Arrays, right: Arrays) -> bool:
    return left.keys() == right.keys() and all(left[name].tobytes() == right[name].tobytes() for name in left)


def main() -> None:
    checks = {name: (lambda name=name: check(name)) for name in NAMES} | {"refusals": check_refusals}
    for name in sys.argv[1:] or checks:
        try:
            checks[name]()
            print(json.dumps({"check": name, "error": None}), flush=True)
        except Exception:
            print(json.dumps({"check": name, "error": traceback.format_exc()}), flush=True)


if __name__ == "__main__":
    main()
