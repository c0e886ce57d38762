# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the stages of `bin/test`, says what was skipped and why, and ends with `N passed, N failed, N skipped`.

A stage is one command. What pytest runs counts by its tests (JUnit report), anything else counts as one. Stages run in
two lanes side by side, in order within a lane; one that measures times, or stops what others use, runs alone: nothing
else goes on meanwhile, and it comes after all that stand before it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "tests" / "output"
PYTEST = [sys.executable, "-m", "pytest"]
TEST_REGISTRY = "127.0.0.1:15000"
"""The site's registry of the molecule scenario `swarm`; the integration suites take their images from there."""
TEST_GRAFANA = f"{TEST_REGISTRY}/upstream/grafana:10.0.0"
"""The image that tests/servers/grafana_image.py brings there, for that scenario's platform."""
MOLECULE = [sys.executable, "-m", "molecule"]
ROOT_LINUX = frozenset({"root", "linux"})
BAR_BESIDE_OTHERS = 6
"""So many times its bar a stage may take beside the other lane."""
LAST_START = 72 * 60
"""In CI no stage begins after so many seconds: what runs too long counts for nothing there. A skip is no pass."""
LAST_END = 80 * 60
"""In CI a stage that is still under way then is stopped, and counts as skipped."""
CHAIN = 30 * 60
"""What a further platform takes from its hosts to its removal."""
WHY = re.compile(r"fatal: |failed: |\[ERROR\]|E   |FAILED |ERROR |\s+(msg|stderr|stdout): |\w*Error: ")
BEGUN = time.monotonic()
ALONE = ""
"""The lane of a stage that runs alone."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command of the test run."""

    name: str
    command: list[str]
    lane: str = "machine"
    """`machine`: with this machine's own engine. `beds`: with clusters made for the purpose, or with neither."""
    needs: frozenset[str] = frozenset()
    timeout: int = 900
    """Seconds after which the stage counts as failed."""
    always: bool = False
    """It cleans up: runs even where an earlier stage failed, if one of those in `after` was begun at all."""
    after: tuple[str, ...] = ()
    """Stages without whose success this one makes no sense."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    by_name: str = ""
    """Why it runs only where it is named."""
    bar: int = 0
    """Seconds that a user is promised, on a machine that does nothing else."""
    budget: int = 0
    """Seconds that it takes with those that build on it: in CI it isn't begun where fewer are left."""

    @property
    def is_pytest(self) -> bool:
        return self.command[: len(PYTEST)] == PYTEST


def pytest_stage(name: str, *paths: str, needs: str = "", **more: Any) -> Stage:
    return Stage(name, [*PYTEST, *paths], needs=frozenset(needs.split()), **more)


def integration(*names: str, lane: str = "machine", after: tuple[str, ...] = (), by_name: str = "") -> list[Stage]:
    more: dict[str, Any] = {"needs": "root linux", "timeout": 2400, "lane": lane, "after": after, "by_name": by_name}
    return [pytest_stage(f"integration-{name}", f"tests/integration/{name}", **more) for name in names]


def molecule(name: str, action: str, scenario: str, timeout: int, **more: Any) -> Stage:
    return Stage(name, [*MOLECULE, action, "-s", scenario], needs=ROOT_LINUX, timeout=timeout, **more)


def testbed(name: str, verb: str, *arguments: str, **more: Any) -> Stage:
    command = [str(ROOT / "bin" / "testbed"), "kubernetes", verb, *arguments]
    return Stage(name, command, "beds", ROOT_LINUX, **more)


def bars(name: str, scenario: str, *files: str, also: Mapping[str, str] | None = None, **more: Any) -> Stage:
    """Those files of tests/platform, on the scenario's platform; MLOPS_INVENTORY may name another than swarm's.

    `also`: more of the environment.
    """
    default = os.environ.get("MLOPS_INVENTORY") if scenario == "swarm" else None
    inventory = {"MLOPS_INVENTORY": default or str(ROOT / "molecule" / scenario / "inventory"), **(also or {})}
    paths = [f"tests/platform/test_{file}.py" for file in files]
    return pytest_stage(name, *paths, needs="root linux", timeout=2700, environment=inventory, **more)


def stages() -> list[Stage]:
    """All stages. The platform on this machine builds all images, and suites take them from its registry. Then the same
    platform on Kubernetes, and on three hosts: one after the other, since each takes most of a core while it rests."""
    kubernetes_suites = integration(
        "testbed", "kubernetes_access", "kubernetes", lane="beds", after=("testbed-kubernetes",)
    )
    return [
        Stage("ruff", ["ruff", "check", "."]),
        Stage("ruff-format", ["ruff", "format", "--check", "."]),
        Stage("mypy", [sys.executable, "tests/mypy.py"]),
        pytest_stage("unit", "tests/unit", "-n2", timeout=2400),
        Stage("ansible-lint", [sys.executable, "tests/ansible_lint.py"], timeout=900),
        Stage("sanity", [sys.executable, "tests/sanity.py"], "beds", timeout=2400),
        testbed("testbed-kubernetes", "up", "--nodes", "2", timeout=2700),
        *kubernetes_suites,
        *integration("cluster", lane="beds"),
        *integration("serving"),
        molecule("blank-host-check", "check", "swarm", 900),
        molecule("role-alone", "test", "postgresql", 1800),
        molecule("platform", "converge", "swarm", 2700),
        molecule("platform-verify", "verify", "swarm", 1800, after=("platform",)),
        bars("platform-safety", "swarm", "containers", "secrets", "render", after=("platform",)),
        bars("platform-dashboards", "swarm", "dashboards", after=("platform",)),
        *integration("render", after=("testbed-kubernetes", "platform")),
        pytest_stage(
            "integration-agent-kubernetes",
            "tests/integration/agent",
            needs="root linux",
            timeout=2400,
            lane="beds",
            after=("testbed-kubernetes", "platform"),
            environment={"MLOPS_TEST_TARGET": "kubernetes"},
        ),
        testbed(
            "testbed-kubernetes-removed",
            "down",
            timeout=300,
            always=True,
            after=(
                "testbed-kubernetes",
                "integration-render",
                "integration-agent-kubernetes",
                *(stage.name for stage in kubernetes_suites),
            ),
        ),
        *integration("mlflow_modules", "model", "archive", "prometheus", lane="beds"),
        *integration(
            "grafana_modules", "grafana_role", lane="beds", by_name="it has yet to be run as a whole beside the others"
        ),
        Stage(
            "grafana-server",
            [sys.executable, "tests/servers/grafana_server.py"],
            "beds",
            timeout=3600,
            by_name="it builds Grafana's server, ten minutes; the other stages named grafana- are tested at it",
        ),
        *(
            pytest_stage(
                f"grafana-{name}",
                f"tests/integration/{path}",
                lane="beds",
                timeout=2400,
                after=("grafana-server",),
                environment={"MLOPS_GRAFANA_HOME": "built"},
                by_name="it needs grafana-server",
            )
            for name, path in {
                "modules": "grafana_modules",
                "role": "grafana_role",
                "alert": "lifecycle/test_5_grafana.py",
            }.items()
        ),
        *integration("prefect_modules", lane="beds", by_name="it has yet to be run as a whole beside the others"),
        *integration("prefect_server", lane="beds", by_name="it has yet to be run as a whole beside the others"),
        *integration("work_pool", by_name="it has yet to be run as a whole beside the others"),
        *integration("drift", "kafka", "agent", "data", "gateway", "images", "image_builder", "workload"),
        *integration("drift_alibi", by_name="it builds an image of a gigabyte"),
        *integration(
            "lifecycle",
            "grafana_dashboards",
            lane="beds",
            by_name="it needs PostgreSQL's programs (apt-get install postgresql)",
        ),
        *integration("pipelines", lane="beds", by_name="it has yet to be run as a whole beside the others"),
        *integration("examples", lane="beds", by_name="it makes environments of five locks, two gigabytes together"),
        Stage("unit-py3.13", [sys.executable, "tests/other_python.py", "3.13"], "beds", timeout=2400),
        Stage("benchmark-serving", [sys.executable, "tests/benchmark/serving.py"], ALONE),
        *(
            Stage(
                f"benchmark-{name}",
                [sys.executable, f"tests/benchmark/{file}.py"],
                ALONE,
                timeout=3600,
                by_name="a measurement of many minutes",
            )
            for name, file in {
                "records": "serving_records",
                "detection": "drift_detection",
                "drift": "drift_service",
            }.items()
        ),
        bars("platform-bars", "swarm", "rerun", "predictions", after=("platform",), lane=ALONE),
        bars("platform-loop", "swarm", "loop", after=("platform",), lane=ALONE),
        bars("platform-faults", "swarm", "faults", after=("platform",), lane=ALONE),
        bars(
            "platform-shaken",
            "swarm",
            "loop_disturbed",
            after=("platform",),
            lane=ALONE,
            by_name="the loop once more, while what it is made of crashes",
        ),
        bars(
            "platform-rules",
            "swarm",
            "switch",
            "rules",
            after=("platform",),
            lane=ALONE,
            by_name="ten thousand requests, and four more loops",
        ),
        bars(
            "platform-servers",
            "swarm",
            "servers",
            after=("platform",),
            by_name="the platform twice more, with several pipeline servers and without",
        ),
        *integration("external"),
        Stage(
            "grafana-image",
            [sys.executable, "tests/servers/grafana_image.py", TEST_GRAFANA],
            timeout=3600,
            after=("platform",),
            by_name="it needs grafana-server",
        ),
        molecule(
            "grafana-platform",
            "converge",
            "swarm",
            1800,
            after=("grafana-image",),
            environment={"MLOPS_TEST_GRAFANA": TEST_GRAFANA},
            by_name="the platform once more, with Grafana",
        ),
        bars(
            "grafana-dashboards",
            "swarm",
            "grafana",
            "dashboards",
            after=("grafana-platform",),
            also={"MLOPS_TEST_GRAFANA": TEST_GRAFANA},
            by_name="it needs grafana-platform",
        ),
        molecule("platform-removed", "cleanup", "swarm", 600, always=True, after=("platform",)),
        molecule(
            "kubernetes-check", "check", "kubernetes", 1200, after=("testbed-kubernetes", "platform"), budget=CHAIN
        ),
        molecule("kubernetes", "converge", "kubernetes", 2400, after=("kubernetes-check",), bar=300),
        molecule("kubernetes-verify", "verify", "kubernetes", 1800, after=("kubernetes",)),
        bars("kubernetes-safety", "kubernetes", "containers", "secrets", "render", "dashboards", after=("kubernetes",)),
        bars("kubernetes-bars", "kubernetes", "rerun", "predictions", "disturbed", after=("kubernetes",), lane=ALONE),
        bars("kubernetes-loop", "kubernetes", "loop", "runs", "switch", after=("kubernetes",), lane=ALONE),
        molecule("kubernetes-emptied", "destroy", "kubernetes", 600, after=("kubernetes",)),
        # The site's registry has the images by now; the cluster is made anew within the time.
        molecule("kubernetes-images-present", "converge", "kubernetes", 2400, after=("kubernetes-emptied",), bar=300),
        molecule("kubernetes-removed", "cleanup", "kubernetes", 600, always=True, after=("kubernetes",)),
        molecule("kubernetes-bed-removed", "destroy", "kubernetes", 600, always=True, after=("kubernetes-check",)),
        molecule("cluster-bed", "create", "swarm_cluster", 900, after=("platform",), budget=CHAIN),
        molecule("cluster", "converge", "swarm_cluster", 2700, after=("cluster-bed",)),
        molecule("cluster-verify", "verify", "swarm_cluster", 1800, after=("cluster",)),
        bars("cluster-bars", "swarm_cluster", "rerun", "predictions", "nodes", after=("cluster",), lane=ALONE),
        bars("cluster-loop", "swarm_cluster", "loop", "runs", after=("cluster",), lane=ALONE),
        molecule("cluster-removed", "cleanup", "swarm_cluster", 600, always=True, after=("cluster",)),
        molecule("cluster-bed-removed", "destroy", "swarm_cluster", 600, always=True, after=("cluster-bed",)),
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
    if "linux" in needs and sys.platform != "linux":
        return "needs Linux"
    return ""


@dataclasses.dataclass
class Tally:
    """Tests that passed, failed, and were skipped (with their reasons)."""

    passed: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)
    skipped: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def add_report(self, stage: str, report: Path) -> None:
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed.append(f"{stage}: {case.get('name')}")
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


TOO_LONG, NO_TIME_LEFT = -1, -2


def time_left(stage: Stage) -> float:
    """Seconds until a run in CI has to end; what cleans up is never cut short."""
    return LAST_END - (time.monotonic() - BEGUN) if os.environ.get("CI") and not stage.always else float("inf")


UNDER_WAY: set[subprocess.Popen[bytes]] = set()


def execute(stage: Stage, log: Path, report: Path) -> int:
    """Runs the stage's command into its log; its exit code, TOO_LONG or NO_TIME_LEFT."""
    begun = time.monotonic()
    command = [*stage.command, f"--junitxml={report}", "-s"] if stage.is_pytest else stage.command
    environment = {"MLOPS_TEST_REGISTRY": TEST_REGISTRY, "MOLECULE_COMMAND_BORDERS": "false", **stage.environment}
    with log.open("w") as file, heartbeat(stage.name, log):
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        UNDER_WAY.add(process)
        try:
            return process.wait(min(stage.timeout, time_left(stage)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            file.write(f"\nstopped after {time.monotonic() - begun:.0f} s\n")
            return TOO_LONG if time.monotonic() - begun >= stage.timeout else NO_TIME_LEFT
        finally:
            UNDER_WAY.discard(process)


def run(stage: Stage) -> tuple[bool, Tally]:
    """Runs one stage; says how it went, with its bars, and with the end of its log where it failed."""
    log, report = OUTPUT / f"{stage.name}.log", OUTPUT / f"{stage.name}.xml"
    report.unlink(missing_ok=True)
    begun = time.monotonic()
    code = execute(stage, log, report)
    seconds = time.monotonic() - begun
    text = log.read_text(errors="replace")
    tally = Tally()
    if code == NO_TIME_LEFT:
        reason = f"stopped after {seconds:.0f} s, no time left; bin/test {stage.name} runs it"
        print(f"SKIP   {stage.name}: {reason}", flush=True)
        return False, Tally(skipped=[f"{stage.name}: {reason}"])
    if stage.is_pytest and report.exists():
        tally.add_report(stage.name, report)
    elif code == 0:
        tally.passed += 1
    if code not in (0, 1) or (code == 1 and not tally.failed):
        tally.failed = tally.failed or [stage.name]
    said = [line.lstrip(" .s") for line in text.splitlines()]  # pytest's dots may stand before
    if stage.bar and code == 0:
        said.append(f"BAR {stage.name}: {seconds:.0f} s (below {stage.bar})")
        if seconds >= BAR_BESIDE_OTHERS * stage.bar:
            tally = Tally(failed=[f"{stage.name}: {seconds:.0f} s"])
    succeeded = code == 0 and not tally.failed
    lines = [f"{'ok    ' if succeeded else 'FAILED'} {stage.name} ({seconds:.0f} s)"]
    lines += [f"       {line}" for line in said if line.startswith(("BAR ", "SKIP "))]
    tally.skipped += [f"{stage.name}: {line[5:]}" for line in said if line.startswith("SKIP ")]
    if not succeeded:
        lines += ["    | " + line for line in causes(text) + text.splitlines()[-40:]]
    print("\n".join(lines), flush=True)
    return succeeded, tally


def causes(text: str) -> list[str]:
    """The lines of a log that say why, which Ansible's differences may have pushed far up, without colours."""
    found = [line for line in map(plain, text.splitlines()) if WHY.match(line)]
    return [line[:600] for line in found[-10:]]


def plain(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


class Lanes:
    """Runs stages: the lanes side by side, a stage that runs alone when all before it are done."""

    def __init__(self, *, chosen: bool) -> None:
        self.tally = Tally()
        self._chosen = chosen
        """The stages were named, so what is not among them counts as done."""
        self._begun: set[str] = set()
        self._results: dict[str, bool] = {}
        self._changed = threading.Condition()

    def run(self, wanted: Iterable[Stage]) -> None:
        group: list[Stage] = []
        known = list(wanted)
        self._waiting = {stage.name for stage in known}
        for stage in known:
            if stage.lane == ALONE:
                self._side_by_side(group)
                self._in_order([stage])
                group = []
            else:
                group.append(stage)
        self._side_by_side(group)

    def _side_by_side(self, group: list[Stage]) -> None:
        lanes = {stage.lane: [other for other in group if other.lane == stage.lane] for stage in group}
        threads = [threading.Thread(target=self._in_order, args=(lane,), daemon=True) for lane in lanes.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _in_order(self, lane: list[Stage]) -> None:
        for stage in lane:
            with self._changed:
                self._changed.wait_for(lambda s=stage: not self._waiting.intersection(s.after))
                missing = [name for name in stage.after if not self._results.get(name, self._chosen)]
            reason = unmet(stage.needs) or ("" if self._chosen else stage.by_name)
            if time_left(stage) < max(stage.budget, LAST_END - LAST_START):
                reason = reason or f"no time left; bin/test {stage.name} runs it"
            if stage.always and not self._chosen and not self._begun.intersection(stage.after):
                reason = reason or f"{stage.after[0]} was not begun"
            elif missing and not stage.always:
                reason = reason or f"{missing[0]} did not succeed"
            if reason:
                print(f"SKIP   {stage.name}: {reason}", flush=True)
                succeeded, tally = False, Tally(skipped=[f"{stage.name}: {reason}"])
            else:
                print(f"...    {stage.name}", flush=True)
                self._begun.add(stage.name)
                succeeded, tally = run(stage)
            with self._changed:
                self.tally.add(tally)
                self._results[stage.name] = succeeded
                self._waiting.discard(stage.name)
                self._changed.notify_all()


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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is under way is stopped, too
    lanes = Lanes(chosen=bool(arguments.stage))
    begun = time.monotonic()
    try:
        with engine_as_before():
            lanes.run(wanted)
    finally:
        for process in list(UNDER_WAY):  # where this was interrupted
            os.killpg(process.pid, signal.SIGTERM)
    tally = lanes.tally
    print(f"\n{(time.monotonic() - begun) / 60:.1f} minutes; logs in tests/output")
    for reason in tally.skipped:
        print(f"skipped: {reason}")
    for name in tally.failed:
        print(f"failed: {name}")
    print(f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
