# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the stages of `bin/test` in order, says what was skipped and why, and ends with `N passed, N failed, N skipped`.

A stage is one command. What pytest runs counts by its tests (JUnit report), anything else counts as one.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "tests" / "output"
PYTEST = [sys.executable, "-m", "pytest"]
TEST_REGISTRY = "127.0.0.1:15000"
"""The site's registry of the molecule scenario `default`; the integration suites take their images from there."""
MOLECULE = [sys.executable, "-m", "molecule"]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command of the test run."""

    name: str
    command: list[str]
    needs: frozenset[str] = frozenset()
    timeout: int = 900
    """Seconds after which the stage counts as failed."""
    always: bool = False
    """Runs even where an earlier stage that it builds on failed: it cleans up."""
    after: tuple[str, ...] = ()
    """Stages without whose success this one makes no sense."""

    @property
    def is_pytest(self) -> bool:
        return self.command[: len(PYTEST)] == PYTEST


def pytest_stage(name: str, *paths: str, needs: str = "", timeout: int = 900, after: tuple[str, ...] = ()) -> Stage:
    return Stage(name, [*PYTEST, *paths], frozenset(needs.split()), timeout, after=after)


def molecule_stage(name: str, action: str, timeout: int, after: tuple[str, ...] = (), always: bool = False) -> Stage:
    return Stage(name, [*MOLECULE, action, "-s", "default"], frozenset({"root", "swarm"}), timeout, always, after)


def stages() -> list[Stage]:
    """All stages, in order: cheap ones first, then a blank host, the platform, its bars, and its removal."""
    return [
        Stage("ruff", ["ruff", "check", "."]),
        Stage("ruff-format", ["ruff", "format", "--check", "."]),
        Stage("mypy", [sys.executable, "tests/mypy.py"]),
        Stage("ansible-lint", [sys.executable, "tests/ansible_lint.py"], timeout=600),
        pytest_stage("unit", "tests/unit", "-n2", timeout=900),
        *(
            Stage(f"unit-py{version}", [sys.executable, "tests/other_python.py", version], timeout=900)
            for version in ("3.12", "3.13")
        ),
        Stage("sanity", [sys.executable, "tests/sanity.py"], timeout=900),
        Stage("benchmark-serving", [sys.executable, "tests/benchmark/serving.py"]),
        molecule_stage("blank-host-check", "check", 300),
        molecule_stage("platform", "converge", 1800),
        molecule_stage("platform-verify", "verify", 600, ("platform",)),
        pytest_stage("platform-bars", "tests/platform", needs="root swarm", timeout=1800, after=("platform",)),
        *(
            pytest_stage(f"integration-{path.name}", str(path.relative_to(ROOT)), needs="root swarm", timeout=1500)
            for path in sorted((ROOT / "tests" / "integration").glob("*"))
            if any(path.glob("test_*.py"))
        ),
        molecule_stage("platform-removed", "cleanup", 300, ("platform",), always=True),
        molecule_stage("nothing-left", "destroy", 120, ("platform",), always=True),
    ]


def interpreter(version: str) -> str | None:
    """Path of an interpreter of that version, on PATH or among pyenv's."""
    if path := shutil.which(f"python{version}"):
        probe = subprocess.run([path, "-c", "import ssl"], capture_output=True, check=False)
        if probe.returncode == 0:
            return path
    for candidate in sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python{version}")):
        return str(candidate)
    return None


def unmet(needs: frozenset[str]) -> str:
    """Why a stage cannot run here; empty if it can."""
    if "root" in needs and os.geteuid() != 0:
        return "needs root"
    if "swarm" in needs and sys.platform != "linux":
        return "needs Linux"
    return ""


@dataclasses.dataclass
class Tally:
    """Tests that passed, failed, and were skipped (with their reasons)."""

    passed: int = 0
    failed: int = 0
    skipped: list[str] = dataclasses.field(default_factory=list)

    def add_report(self, stage: str, report: Path) -> None:
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed += 1
            elif (skip := case.find("skipped")) is not None:
                self.skipped.append(f"{stage}: {case.get('name')}: {skip.get('message')}")
            else:
                self.passed += 1


@contextlib.contextmanager
def heartbeat(name: str, log: Path) -> Iterator[None]:
    """Says every two minutes that a stage is still at work, with its last line."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(120):
            lines = log.read_text(errors="replace").splitlines()
            print(f"    ... {name}: {lines[-1][:140] if lines else ''}", flush=True)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def run(stage: Stage, tally: Tally) -> bool:
    """Runs one stage; its output goes to a log, whose end is shown where it failed."""
    log, report = OUTPUT / f"{stage.name}.log", OUTPUT / f"{stage.name}.xml"
    report.unlink(missing_ok=True)
    command = [*stage.command, f"--junitxml={report}", "-s"] if stage.is_pytest else stage.command
    begun = time.monotonic()
    with log.open("w") as file, heartbeat(stage.name, log):
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "MLOPS_TEST_REGISTRY": TEST_REGISTRY},
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = process.wait(stage.timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            code = -1
            file.write(f"\nstopped after {stage.timeout} s\n")
    seconds = time.monotonic() - begun
    text = log.read_text(errors="replace")
    before = tally.failed
    if stage.is_pytest and report.exists():
        tally.add_report(stage.name, report)
        if code not in (0, 1) and tally.failed == before:
            tally.failed += 1
    elif code == 0:
        tally.passed += 1
    else:
        tally.failed += 1
    succeeded = code == 0 and tally.failed == before
    print(f"{'ok    ' if succeeded else 'FAILED'} {stage.name} ({seconds:.0f} s)", flush=True)
    for line in (line.lstrip(" .s") for line in text.splitlines()):  # pytest's dots may stand before
        if line.startswith(("BAR ", "SKIP ")):
            print(f"       {line}", flush=True)
        if line.startswith("SKIP "):
            tally.skipped.append(f"{stage.name}: {line[5:]}")
    if not succeeded:
        print("\n".join("    | " + line for line in text.splitlines()[-80:]), flush=True)
    return succeeded


def run_all(wanted: list[Stage], *, chosen: bool, tally: Tally) -> None:
    """Runs the stages in order. ``chosen``: they were named, so what is not among them counts as done."""
    results = dict[str, bool]()
    for stage in wanted:
        reason = unmet(stage.needs)
        missing = [name for name in stage.after if not results.get(name, chosen)]
        if missing and not stage.always:
            reason = reason or f"{missing[0]} did not succeed"
        if reason:
            print(f"SKIP   {stage.name}: {reason}", flush=True)
            tally.skipped.append(f"{stage.name}: {reason}")
            results[stage.name] = False
            continue
        print(f"...    {stage.name}", flush=True)
        results[stage.name] = run(stage, tally)


def engine() -> int | None:
    """Process id of this machine's Docker engine, None where none runs."""
    with contextlib.suppress(OSError, ValueError):
        process = int(Path("/run/docker.pid").read_text())
        if Path(f"/proc/{process}/comm").read_text().strip() == "dockerd":
            return process
    return None


@contextlib.contextmanager
def engine_as_before() -> Iterator[None]:
    """Stops an engine that the stages started by hand; one that systemd keeps, or that ran before, is left alone."""
    before = engine()
    try:
        yield
    finally:
        now = engine()
        if before is None and now is not None and Path("/proc/1/comm").read_text().strip() != "systemd":
            os.kill(now, signal.SIGTERM)
            deadline = time.monotonic() + 60
            while engine() == now and time.monotonic() < deadline:
                time.sleep(0.5)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bin/test", description=__doc__)
    parser.add_argument("stage", nargs="*", help="run these stages only (a prefix is enough)")
    parser.add_argument("--list", action="store_true", help="name the stages")
    arguments = parser.parse_args()
    wanted = [s for s in stages() if not arguments.stage or s.name.startswith(tuple(arguments.stage))]
    if arguments.list:
        print("\n".join(stage.name for stage in wanted))
        return 0
    if not wanted:
        parser.error(f"no stage is named {' or '.join(arguments.stage)}; see bin/test --list")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    begun = time.monotonic()
    with engine_as_before():
        run_all(wanted, chosen=bool(arguments.stage), tally=tally)
    print(f"\n{(time.monotonic() - begun) / 60:.1f} minutes; logs in tests/output")
    for reason in tally.skipped:
        print(f"skipped: {reason}")
    print(f"{tally.passed} passed, {tally.failed} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
