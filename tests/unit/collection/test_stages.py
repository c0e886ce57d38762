# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""tests/run.py itself: which stages run, once one before them failed or was never begun."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import run

GOOD, BAD = [sys.executable, "-c", ""], [sys.executable, "-c", "raise SystemExit(2)"]


@pytest.fixture(autouse=True)
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "OUTPUT", tmp_path)
    monkeypatch.delenv("CI", raising=False)


def results(*stages: run.Stage) -> tuple[int, list[str], list[str]]:
    lanes = run.Lanes(chosen=False)
    lanes.run(stages)
    return lanes.tally.passed, lanes.tally.failed, [reason.partition(":")[0] for reason in lanes.tally.skipped]


@pytest.mark.parametrize("up", [GOOD, BAD])
def test_what_was_begun_is_removed(up: list[str]) -> None:
    passed, failed, skipped = results(
        run.Stage("up", up), run.Stage("used", GOOD, after=("up",)), run.Stage("down", GOOD, always=True, after=("up",))
    )
    assert (passed, failed, skipped) == ((3, [], []) if up is GOOD else (1, ["up"], ["used"]))


def test_what_was_never_begun_is_not_removed() -> None:
    passed, failed, skipped = results(
        run.Stage("before", BAD),
        run.Stage("up", GOOD, after=("before",)),
        run.Stage("down", BAD, always=True, after=("up",)),
    )
    assert (passed, failed, skipped) == (0, ["before"], ["up", "down"])


def test_in_ci_nothing_is_begun_that_cannot_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(run, "BEGUN", time.monotonic() - run.LAST_START + 60)
    passed, failed, skipped = results(
        run.Stage("short", GOOD),
        run.Stage("bed", BAD, budget=run.CHAIN),
        run.Stage("platform", BAD, after=("bed",)),
        run.Stage("removed", BAD, always=True, after=("platform",)),
    )
    assert (passed, failed, skipped) == (1, [], ["bed", "platform", "removed"])
    monkeypatch.setattr(run, "BEGUN", time.monotonic() - run.LAST_START - 60)
    assert results(run.Stage("short", BAD)) == (0, [], ["short"])


def test_every_stage_comes_after_what_it_needs() -> None:
    seen: set[str] = set()
    for stage in run.stages():
        assert seen.issuperset(stage.after), stage.name
        seen.add(stage.name)
