# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The stream's archive with a real broker and a real MLflow, as a user that has no rights but its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "servers"), str(ROOT / "runtime" / "src")]

from kafka import Kafka  # noqa: E402
from mlflow import Mlflow  # noqa: E402
from mlops_runtime.contracts.mlflow import Mlflow as Client  # noqa: E402
from mlops_runtime.contracts.mlflow import MlflowError  # noqa: E402
from mlops_runtime.contracts.settings import Tracking  # noqa: E402
from mlops_runtime.drift.archive.chunk import LABELS, RECORDS  # noqa: E402
from mlops_runtime.drift.archive.loop import Loop  # noqa: E402
from mlops_runtime.drift.archive.reader import DamagedFile, read  # noqa: E402
from mlops_runtime.drift.archive.settings import Settings  # noqa: E402
from mlops_runtime.drift.archive.store import Store  # noqa: E402

USER, PASSWORD = "archive", "an-archive-password"
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka.started(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    with Mlflow.started(tmp_path_factory.mktemp("mlflow")) as server:
        server.add_user(USER, PASSWORD)
        server.grant(USER, "registered_model", "*", "READ")
        yield server


class Site:
    """One model, its topics, and what a test does with them."""

    def __init__(self, kafka: Kafka, mlflow: Mlflow, model: str) -> None:
        self.kafka, self.mlflow, self.model = kafka, mlflow, model
        self.topics = [f"predictions.{model}", f"predictions.{model}.labels"]
        admin = AdminClient({"bootstrap.servers": kafka.address})
        for made in admin.create_topics([NewTopic(topic, 1, 1) for topic in self.topics]).values():
            made.result(60)
        self.declare({})
        self.client = Client(Tracking(mlflow.uri, USER, PASSWORD))
        self.store = Store(self.client)
        self._producer = Producer({"bootstrap.servers": kafka.address, "linger.ms": 5})

    def declare(self, archive: dict[str, str] | None) -> None:
        spec = json.dumps({"drift": {"detectors": ["ewma"], "archive": archive}})
        with contextlib.suppress(urllib.error.HTTPError):  # it is there
            self.mlflow.api("POST", "registered-models/create", {"name": self.model})
        self.mlflow.api("POST", "registered-models/set-tag", {"name": self.model, "key": "mlops.spec", "value": spec})

    def settings(self, **more: Any) -> Settings:
        given = {"seconds": 0.3, "poll_seconds": 0.5, "group": f"archive.{self.model}", **more}
        return Settings({"bootstrap.servers": self.kafka.address}, Tracking(self.mlflow.uri, USER, PASSWORD), **given)

    def send(self, first: int, last: int, version: str = "1", when: datetime = NOW, **more: Any) -> None:
        for number in range(first, last):
            record = {
                "schema": 1,
                "model": self.model,
                "version": version,
                "id": f"id-{number}",
                "ts": when.isoformat(),
                "names": ["a", "b"],
                "X": [[number, "red"], [number + 0.5, None]],
                "Y": [[0.25, 0.75], [0.5, 0.5]],
                **more,
            }
            self.put(0, f"id-{number}", json.dumps(record).encode(), when)
        self._producer.flush(30)

    def label(self, id: str, y: Any) -> None:
        self.put(1, id, json.dumps({"id": id, "y": y}).encode(), datetime.now(UTC))
        self._producer.flush(30)

    def put(self, topic: int, key: str, value: bytes, when: datetime) -> None:
        self._producer.produce(self.topics[topic], value, key, timestamp=int(when.timestamp() * 1000))

    def committed(self) -> list[int]:
        consumer = Consumer({"bootstrap.servers": self.kafka.address, "group.id": f"archive.{self.model}"})
        try:
            places = [TopicPartition(topic, 0) for topic in self.topics]
            return [max(0, place.offset) for place in consumer.committed(places, 30)]
        finally:
            consumer.close()

    def until(self, loop: Loop, check: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not check():
            loop.turn()
            assert time.monotonic() < deadline, (loop.counts, loop.problem)

    def rows(self, **more: Any) -> list[dict[str, Any]]:
        table = read(self.store, self.model, NOW - timedelta(days=400), NOW + timedelta(days=1), **more)
        return list(table.to_pylist())


@pytest.fixture
def site(kafka: Kafka, mlflow: Mlflow, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(kafka, mlflow, request.node.name.removeprefix("test_").replace("_", "-"))
    yield made
    made.declare(None)


@pytest.fixture
def start(site: Site) -> Iterator[Callable[..., Loop]]:
    loops: list[Loop] = []

    def make(mlflow: Client | None = None, **settings: Any) -> Loop:
        loops.append(Loop(site.settings(**settings), mlflow or site.client))
        return loops[-1]

    yield make
    for loop in loops:
        loop._consumer.close()


def stored(loop: Loop, site: Site, kind: str = RECORDS) -> int:
    return loop.counts["rows", site.model, kind]


def test_rows_come_back_with_their_labels(site: Site, start: Callable[..., Loop]) -> None:
    site.send(0, 50)
    site.send(50, 100, version="2", payload={"content_type": "text/plain", "sha256": "00", "data": "x"})
    site.put(0, "bad", b"{no json", NOW)
    site.put(0, "new", b'{"schema": 2, "X": [[1]]}', NOW)
    site.send(100, 101, ts="no time")
    site.label("id-7", 1)
    site.label("id-8", [0, 1])
    site.label("id-7", 0)
    site.label("unknown", 5)
    loop = start()
    site.until(loop, lambda: (stored(loop, site), stored(loop, site, LABELS)) == (202, 4))
    assert loop.counts["unreadable", site.model] == 2 and not loop.problem
    assert site.committed() == [103, 4]
    rows = site.rows()
    assert [(row["id"], row["row"]) for row in rows] == [(f"id-{n}", row) for n in range(101) for row in (0, 1)]
    first = rows[14]
    assert first.pop("ts") == NOW
    assert first == {
        "id": "id-7",
        "version": "1",
        "row": 0,
        "partition": 0,
        "offset": 7,
        "x.a": 7,
        "x.b": "red",
        "y.0": 0.25,
        "y.1": 0.75,
        "payload": None,
        "label": 0,
    }
    assert [row["label"] for row in rows[14:18]] == [0, 0, 0, 1] and rows[18]["label"] is None
    assert rows[15]["x.b"] is None and rows[15]["x.a"] == 7.5
    assert json.loads(rows[100]["payload"])["data"] == "x"
    assert {row["version"] for row in site.rows(version="2")} == {"2"} and len(site.rows(version="2")) == 100
    assert read(site.store, site.model, NOW + timedelta(hours=1), NOW + timedelta(hours=2)).num_rows == 0
    site.label("id-9", 1)
    site.until(loop, lambda: stored(loop, site, LABELS) == 5)
    assert site.rows()[18]["label"] == 1


def test_a_crash_between_storing_and_committing_repeats_nothing(
    site: Site, start: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.send(0, 30, version="1")
    site.send(30, 60, version="2")
    broken = start(messages=50)

    class Cut:
        """The consumer of a process that dies before it can commit."""

        def __init__(self, consumer: Any) -> None:
            self._consumer = consumer

        def __getattr__(self, name: str) -> Any:
            return getattr(self._consumer, name)

        def commit(self, **_: Any) -> None:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    monkeypatch.setattr(broken, "_consumer", Cut(broken._consumer))
    site.until(broken, lambda: "doesn't take the offset" in broken.problem)
    assert len(site.rows()) == 100 and site.committed() == [0, 0]
    broken._consumer.close()
    # Other bounds than before: what was the first chunk's second half comes in another one now.
    again = start(messages=20)
    site.until(again, lambda: stored(again, site) == 120)
    assert [row["offset"] for row in site.rows()] == [offset for offset in range(60) for _ in range(2)]
    assert len({(row["offset"], row["row"]) for row in site.rows()}) == 120


def test_while_mlflow_is_away_nothing_is_lost_and_little_is_held(
    site: Site, start: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops_runtime.drift.archive.loop._RETRY_SECONDS", 0.2)

    class Away(Client):
        away = False

        def put(self, path: str, body: bytes) -> None:
            if self.away:
                raise MlflowError("PUT: connection refused")
            super().put(path, body)

    client = Away(Tracking(site.mlflow.uri, USER, PASSWORD))
    bound = 200_000
    loop = start(client, held_bytes=bound)
    client.away = True
    site.send(0, 3000)
    most = 0
    for _ in range(30):
        loop.turn()
        most = max(most, sum(growing.bytes for growing in loop._growing.values()))
    assert bound < most < bound + 100 * 600 and stored(loop, site) == 0
    assert "refused" in loop.problem and loop.counts["failures",] >= 1
    client.away = False
    site.until(loop, lambda: stored(loop, site) == 6000)
    assert not loop.problem and len(site.rows()) == 6000 and site.committed()[0] == 3000


def test_what_is_too_old_is_deleted_and_no_more(site: Site, start: Callable[..., Loop]) -> None:
    for days in (0, 1, 9, 11, 40):
        site.send(days, days + 1, when=NOW - timedelta(days=days))
    loop = start()
    site.until(loop, lambda: stored(loop, site) == 10)
    assert len(site.rows()) == 10
    site.declare({"retention": "10d"})
    cleaning = start()
    site.until(cleaning, lambda: cleaning.counts["deleted", site.model] > 0)
    assert {row["id"] for row in site.rows()} == {"id-0", "id-1", "id-9"}
    site.declare({"retention": "ten days"})
    keeping = start()
    site.until(keeping, lambda: keeping._clean_at > time.monotonic())
    assert len(site.rows()) == 6


def test_a_file_that_was_changed_is_refused(site: Site, start: Callable[..., Loop]) -> None:
    site.send(0, 1)
    loop = start()
    site.until(loop, lambda: stored(loop, site) == 2)
    (manifest,) = site.store.manifests(site.model, RECORDS)
    path = manifest["files"][0]["path"]
    root = site.client.experiment("mlops-stream")
    site.client.put(f"{root}/stream/{site.model}/{path}", b"something else")
    with pytest.raises(DamagedFile, match=path):
        site.rows()


def test_others_may_not_read_it(site: Site, start: Callable[..., Loop]) -> None:
    site.send(0, 1)
    loop = start()
    site.until(loop, lambda: stored(loop, site) == 2)
    site.mlflow.add_user("stranger", "a-stranger-password")
    root = site.client.experiment("mlops-stream")
    stranger = Client(Tracking(site.mlflow.uri, "stranger", "a-stranger-password"))
    for refused in (stranger.get, stranger.delete, lambda path: stranger.put(path, b"")):
        (manifest,) = site.store.manifests(site.model, RECORDS)
        with pytest.raises(MlflowError, match="403"):
            refused(f"{root}/stream/{site.model}/{manifest['files'][0]['path']}")
    assert len(site.rows()) == 2


def test_a_model_that_does_not_ask_is_left_alone(site: Site, start: Callable[..., Loop]) -> None:
    site.declare(None)
    site.send(0, 5)
    loop = start()
    for _ in range(4):
        loop.turn()
    assert site.model not in loop._models and not stored(loop, site)
    site.declare({})
    site.until(loop, lambda: stored(loop, site) == 10)


def test_the_process_tells_how_it_is_and_writes_the_rest_when_stopped(site: Site, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "runtime" / "src"),
        "MLOPS_BROKER": site.kafka.address,
        "MLFLOW_TRACKING_URI": site.mlflow.uri,
        "MLFLOW_TRACKING_USERNAME": USER,
        "MLFLOW_TRACKING_PASSWORD_FILE": str(tmp_path / "password"),
        "MLOPS_ARCHIVE_GROUP": f"archive.{site.model}",
        "MLOPS_ARCHIVE_POLL_SECONDS": "0.5",
        "MLOPS_ARCHIVE_PORT": str(port),
    }
    site.send(0, 20)

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlops_runtime.drift.archive"], env=env, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 90
        age = f'mlops_archive_age_seconds{{model="{site.model}"}}'
        while get("/health/ready")[0] != 200 or f"{age} 0.0" in get("/metrics")[1] or age not in get("/metrics")[1]:
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        assert get("/health/live")[0] == 200 and get("/elsewhere")[0] == 404
        assert not list(site.store.manifests(site.model, RECORDS))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
    assert len(site.rows()) == 40 and site.committed()[0] == 20
