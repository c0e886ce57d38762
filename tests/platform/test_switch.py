# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""An alias that is moved by hand again and again, under load: how soon the other version answers, and what fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from installed import EXAMPLE, MODEL, Platform, Rest, read_rows, wait_for
from test_loop import champion, told

REQUESTS, RATE, CLIENTS = 10_000, 50, 8
"""So many, so many a second."""
FOLLOWED_WITHIN = 10
"""Seconds, where the image is on the node. The machine is shared: only three times as long is a failure."""
BETWEEN = 300
"""Answers from one switch to the next move."""
REGISTRY = "/api/2.0/mlflow"


class Load:
    """Requests at a steady rate, from a few clients; who is late asks at once."""

    def __init__(self, rest: Rest, rows: list[list[float]]) -> None:
        self.answered, self.failed, self.slowest = 0, list[str](), 0.0
        self._rest, self._rows = rest, rows
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._numbers = iter(range(REQUESTS))
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients = [self._pool.submit(self._ask) for _ in range(CLIENTS)]

    @property
    def is_over(self) -> bool:
        return all(client.done() for client in self._clients)

    def _ask(self) -> None:
        while True:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            # Each has its moment: that is the rate.
            time.sleep(max(0.0, self._begun + number / RATE - time.monotonic()))
            asked, problem = time.monotonic(), ""
            try:
                self._rest.ndarray(self._rows[:1])
            except (AssertionError, OSError) as error:
                problem = str(error)
            with self._lock:
                self.answered += 1
                self.slowest = max(self.slowest, time.monotonic() - asked)
                self.failed += [problem] if problem else []

    def end(self) -> float:
        """Seconds that all of it took."""
        for client in self._clients:
            client.result()
        self._pool.shutdown()
        return time.monotonic() - self._begun


def answering(platform: Platform) -> str:
    """The version whose server has just been asked, through the gateway."""
    answer = platform.gateway.request(f"/seldon/{platform.name}/{MODEL}/api/v1.0/metadata")
    assert answer.status == 200, answer.text()
    return str(answer.json()["versions"][0])


def move(platform: Platform, version: str) -> None:
    moved = {"name": MODEL, "alias": "champion", "version": version}
    told(platform, f"{REGISTRY}/registered-models/alias", moved, "mlflow")


@pytest.fixture
def versions(platform: Platform) -> Iterator[tuple[str, str]]:
    """The champion, and a second version with its files."""
    if "lifecycle" not in platform.facts["components"]:
        pytest.skip("without the lifecycle controller nobody follows an alias")
    about = f"{REGISTRY}/registered-models/alias?name={MODEL}&alias=champion"
    old = told(platform, about, service="mlflow")["model_version"]
    copy = {key: old[key] for key in ("name", "source", "run_id", "tags") if old.get(key)}
    logged = old["source"].removeprefix("models:/")
    copy |= {"model_id": logged} if logged.startswith("m-") else {}
    new = told(platform, f"{REGISTRY}/model-versions/create", copy, "mlflow")["model_version"]
    try:
        yield old["version"], new["version"]
    finally:
        move(platform, old["version"])
        wait_for(lambda: champion(platform, MODEL)["serves"] == old["version"], seconds=120, what="the old one serves")
        copied = {"name": MODEL, "version": new["version"]}
        told(platform, f"{REGISTRY}/model-versions/delete", copied, "mlflow", "DELETE")


def test_no_request_fails_while_the_alias_moves(platform: Platform, versions: tuple[str, str]) -> None:
    names, rows = read_rows(EXAMPLE / "build/test.csv", "is_phishing")
    load, followed = Load(Rest(platform.gateway, platform.name, MODEL, names), rows), list[float]()
    while not load.is_over:
        version = versions[(len(followed) + 1) % 2]
        begun = time.monotonic()
        move(platform, version)
        wait_for(lambda v=version: answering(platform) == v, seconds=120, what=f"{version} answers")
        followed.append(time.monotonic() - begun)
        wait_for(lambda v=version: champion(platform, MODEL)["serves"] == v, seconds=120, what=f"{version} serves")
        enough = load.answered + BETWEEN
        wait_for(lambda e=enough: load.answered >= e or load.is_over, seconds=120, what=f"{BETWEEN} answers")
    seconds = load.end()
    met = "met" if not load.failed and max(followed) < FOLLOWED_WITHIN else "missed"
    print(
        f"BAR {met}: {load.answered} requests at {load.answered / seconds:.0f}/s, {len(load.failed)} failed, the "
        f"slowest {load.slowest:.2f} s; the alias moved {len(followed)} times, the other version answers after "
        f"{sorted(followed)[len(followed) // 2]:.1f} s, at most {max(followed):.1f} (below {FOLLOWED_WITHIN})"
    )
    assert load.failed == [], f"{len(load.failed)} of {load.answered}: {load.failed[0]}"
    assert len(followed) >= 4 and max(followed) < 3 * FOLLOWED_WITHIN, followed


def test_an_alias_that_was_moved_by_hand_stays(platform: Platform, versions: tuple[str, str]) -> None:
    _, new = versions
    move(platform, new)
    wait_for(lambda: champion(platform, MODEL)["serves"] == new, seconds=120, what=f"{new} serves")
    for name in ("site", "models"):
        done = platform.playbook(name=name)
        assert (done.code, done.changed) == (0, {"0"}), done.end
        assert champion(platform, MODEL) == {"named": new, "serves": new}
