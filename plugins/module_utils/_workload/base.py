# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What every backend can do, and what it answers."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .model import Workload

Progress = Callable[[str], None]
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
LOG_BYTES = 256 * 1024  # of a run's log in one answer


@dataclass
class Outcome:
    """What became of one workload (or job). ``why`` names the fields that differed, or what else made it change.

    status: healthy, completed, starting, failed, rolled back, waiting, absent.
    """

    status: str
    changed: bool = False
    why: list[str] = field(default_factory=list)
    error: str | None = None
    log: list[str] = field(default_factory=list)


@dataclass
class Result:
    changed: bool = False
    workloads: dict[str, Outcome] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "workloads": {name: asdict(outcome) for name, outcome in self.workloads.items()},
            "diff": {"before": self.before, "after": self.after},
            "notes": list(self.notes),
            "progress": list(self.progress),
        }


@dataclass(frozen=True)
class ObservedTask:
    """One running (or failing) instance. ``addresses`` by zone; ``since`` is when the state was reached (RFC 3339)."""

    id: str
    node: str
    state: str
    healthy: bool
    addresses: dict[str, str]
    error: str | None = None
    since: str = ""
    container: str | None = None


@dataclass(frozen=True)
class Observed:
    """One workload as it is. ``routes`` carry the full host and the number of the port; ``readiness`` (path, port,
    headers) is in each of them where the workload declares one by http."""

    name: str
    set_name: str
    kind: str
    image: str
    zone: str | None
    replicas: int
    routes: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    labels: dict[str, str]
    tasks: list[ObservedTask]
    status: str

    @property
    def healthy(self) -> bool:
        return self.status in ("healthy", "completed")

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "healthy": self.healthy}


#: A run that is in one of these will not change any more.
ENDED = ("succeeded", "failed", "lost")


@dataclass(frozen=True)
class Run:
    """A job that was started and not awaited. state: waiting (``reason``: the scheduler's), starting, running,
    succeeded, failed, lost with its node. Times are RFC 3339; ``since``: when the state was reached, as far as that is
    known."""

    name: str
    set_name: str
    state: str
    created: str
    reason: str = ""
    exit_code: int | None = None
    node: str = ""
    since: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ended": self.ended}


@dataclass(frozen=True)
class LogLine:
    """``position``: when it was printed (RFC 3339, nanoseconds); to read on, give the last one's."""

    position: str
    text: str


def log_lines(text: str, since: str, most: int, last: bool) -> list[LogLine]:
    """The lines behind a position in a text whose lines begin with their times: the first ones, or the last."""
    found: list[LogLine] = []
    for line in text.splitlines():
        stamp, __, rest = line.partition(" ")
        if not STAMP.fullmatch(stamp):  # the rest of a line that was cut
            stamp, rest = found[-1].position if found else since, line
        if stamp > since:
            found.append(LogLine(stamp, rest))
    return found[-most:] if last else found[:most]


class Backend(ABC):
    """Makes sets of workloads so on one target, inside one namespace."""

    def __init__(self, namespace: str, *, domain: str = "", wait_timeout: float = 300.0) -> None:
        self.namespace = namespace
        self.domain = domain
        self.wait_timeout = wait_timeout

    @abstractmethod
    def apply(
        self,
        set_name: str,
        workloads: Sequence[Workload | Mapping[str, Any]],
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
        check: bool = False,
        prune: bool = True,
        progress: Progress | None = None,
    ) -> Result:
        """Makes the set equal the workloads and waits until each is healthy; prunes what the set no longer declares.

        Raises WorkloadError; its ``result`` tells what was done until then.
        """

    @abstractmethod
    def absent(
        self,
        set_name: str,
        *,
        names: Sequence[str] | None = None,
        remove_volumes: bool = False,
        check: bool = False,
        progress: Progress | None = None,
    ) -> Result:
        """Removes the set (or only the workloads of these names) and waits until nothing of it is left."""

    @abstractmethod
    def observe(self, set_name: str | None = None) -> list[Observed]:
        """What is there, of all sets of the namespace or of one."""

    @abstractmethod
    def facts(self, images: Mapping[str, str]) -> dict[str, Any]:
        """What rendering takes from the cluster, as plain data: with it, manifests are what ``apply`` applies.

        ``images`` are references by name; those that the cluster can tell more exactly come back under ``images``.
        """

    @abstractmethod
    def events(self) -> Iterator[object]:
        """An item whenever something may have changed that ``observe`` tells; ends when its connection does."""

    @abstractmethod
    def logs(self, name: str, *, lines: int = 50) -> list[str]:
        """The last log lines of a workload."""

    @abstractmethod
    def start(
        self,
        set_name: str,
        workload: Workload,
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
    ) -> None:
        """Starts a job and doesn't wait; nothing where a run of that name is there. Its set has runs and nothing else.

        Whatever becomes of it, it is not started a second time. Raises WorkloadError.
        """

    @abstractmethod
    def runs(self, set_name: str) -> list[Run]:
        """What became of the set's runs, by name, in a few calls whatever their number."""

    @abstractmethod
    def run_log(self, set_name: str, name: str, *, since: str = "", lines: int = 200) -> list[LogLine]:
        """The first lines behind a position, or the last of all without one; none if they can't be had."""

    @abstractmethod
    def remove_run(self, set_name: str, name: str) -> bool:
        """Removes a run with all that it brought; what still runs gets its grace to stop. False if it isn't there."""


class Reporter:
    """Collects progress with the seconds since the start and passes it on."""

    def __init__(self, result: Result, progress: Progress | None) -> None:
        self._result = result
        self._progress = progress
        self._begin = time.monotonic()

    def __call__(self, text: str) -> None:
        line = f"{time.monotonic() - self._begin:6.1f} s  {text}"
        self._result.progress.append(line)
        if self._progress is not None:
            self._progress(line)
