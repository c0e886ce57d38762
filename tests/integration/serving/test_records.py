# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Prediction records and labels of a running model server, on a real broker; and a broker that isn't there."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "servers"), str(HERE.parents[2] / "runtime" / "src")]

from kafka import Kafka  # noqa: E402
from mlops_runtime.serving.proto import prediction_pb2 as messages  # noqa: E402
from servers import OURS, OURS_BESIDE_SELDON, Server, serving  # noqa: E402
from stream_reader import length, make_topics, read_topic  # noqa: E402

PREDICT, FEEDBACK = "/api/v1.0/predictions", "/api/v1.0/feedback"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka.started(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture
def topic(broker: Kafka, request: pytest.FixtureRequest) -> str:
    name = f"predictions.{re.sub('[^a-z0-9_]', '-', request.node.name)}"
    make_topics(broker.address, name, f"{name}.labels")
    return name


def env(broker: Kafka, topic: str, **more: str) -> dict[str, str]:
    about = {"MLOPS_MODEL": "m", "MLOPS_MODEL_VERSION": "7", "MLOPS_MODEL_DIR": "/nowhere"}
    return {"MLOPS_RECORDS": topic, "MLOPS_BROKER": broker.address, **about, **more}


def ask(
    server: Server, message: Any, headers: dict[str, str] | None = None, path: str = PREDICT
) -> tuple[int, Any, str | None]:
    """Status, answer, and the header that names the request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=20)
    connection.request(
        "POST", path, json.dumps(message).encode(), {"Content-Type": "application/json", **(headers or {})}
    )
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body, answer.getheader("Seldon-Puid")


def counts(server: Server, name: str = "records") -> dict[str, float]:
    pattern = rf'mlops_prediction_{name}_total{{model="m",version="7",outcome="(\w+)"}} (\S+)'
    return {outcome: float(value) for outcome, value in re.findall(pattern, server.metrics())}


def eventually(check: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.05)


def test_each_request_leaves_one_record_with_all_its_rows(broker: Kafka, topic: str) -> None:
    with serving(OURS, "Doubling", env=env(broker, topic), workers=2) as server:
        message = {"data": {"names": ["a", "b"], "ndarray": [[1, 2.5], [3, -4]]}, "meta": {"puid": "mine"}}
        status, answer, header = ask(server, message)
        assert (status, header, answer["meta"]["puid"]) == (200, "mine", "mine")
        given = ask(server, {"data": {"tensor": {"shape": [1, 2], "values": [5, 6]}}}, {"Seldon-Puid": "from-header"})
        assert given[2] == "from-header" and "puid" not in given[1]["meta"]
        made = ask(server, {"data": {"ndarray": [[7.0, 8.0]]}})[2]
        assert made and re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made)
        status, _, header = ask(server, {"data": "no object"})
        assert (status, header) == (400, None)
        records = dict(read_topic(broker.address, topic, 3))
        eventually(lambda: counts(server) == {"logged": 3, "lost": 0, "sampled_out": 0})
    record = records["mine"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", record.pop("ts"))
    assert record == {
        "schema": 1,
        "model": "m",
        "version": "7",
        "id": "mine",
        "names": ["a", "b"],
        "X": [[1.0, 2.5], [3.0, -4.0]],
        "Y": answer["data"]["ndarray"],
    }
    assert (records["from-header"]["X"], records[made]["X"]) == ([[5, 6]], [[7.0, 8.0]])
    assert length(broker.address, topic) == 3


def test_grpc_and_requests_that_were_predicted_together(broker: Kafka, topic: str) -> None:
    together = {"MLOPS_BATCH_WAIT_MS": "500"}
    with serving(OURS, "Rows", env=env(broker, topic) | together) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            predict = channel.unary_unary(
                "/seldon.protos.Seldon/Predict",
                messages.SeldonMessage.SerializeToString,
                messages.SeldonMessage.FromString,
            )
            requests = []
            for number in range(6):
                message = messages.SeldonMessage()
                message.meta.puid = f"id-{number}"
                message.data.tensor.shape.extend([2, 2])
                message.data.tensor.values.extend([number, 1, number, float("nan")])
                requests.append(predict.future(message))
            answers = [request.result(20) for request in requests]
            assert max(value for answer in answers for value in answer.data.tensor.values[1::2]) > 2
            assert ("seldon-puid", "id-5") in requests[5].trailing_metadata()
            _, call = predict.with_call(messages.SeldonMessage(data=answers[0].data), metadata=[("seldon-puid", "h")])
            assert ("seldon-puid", "h") in call.trailing_metadata()
        records = dict(read_topic(broker.address, topic, 7))
    assert records.keys() == {f"id-{number}" for number in range(6)} | {"h"}
    for number, answer in enumerate(answers):
        record = records[f"id-{number}"]
        assert record["X"] == [[number, 1], [number, None]]
        assert record["Y"][0] == list(answer.data.tensor.values[:2])


def test_what_is_no_table_is_a_payload_and_a_class_may_have_an_embedding(broker: Kafka, topic: str) -> None:
    with serving(OURS, "Words", env=env(broker, topic)) as server:
        ids = [
            ask(server, message)[2]
            for message in (
                {"strData": "a word"},
                {"jsonData": {"a": [1, None]}},
                {"binData": base64.b64encode(b"\x00\xff").decode()},
                {"strData": "x" * 300_000},
                {"data": {"ndarray": [[[1, 2], [3, 4]]]}},
                {"data": {"ndarray": [["a", 1, None, True]]}},
                {"data": {"ndarray": [[1.5, 2.5]] * 3}},
                {"data": {"ndarray": [[0.5] * 100] * 3000}},
            )
        ]
        records = dict(read_topic(broker.address, topic, 7))
        eventually(lambda: counts(server) == {"logged": 7, "lost": 1, "sampled_out": 0})
        assert "larger than the broker takes" in server.output()
        assert "no embedding of three rows" in server.output()
    word, parsed, binary, long, image, mixed, floats = (records[id or ""] for id in ids[:7])
    sha = hashlib.sha256
    assert word["payload"] == {
        "content_type": "text/plain",
        "size": 6,
        "sha256": sha(b"a word").hexdigest(),
        "data": "a word",
    }
    assert (word["Y"], word["embedding"]) == ({"answer": 42}, [[1.0, 2.0]])
    assert parsed["payload"]["data"] == {"a": [1, None]}
    assert parsed["payload"]["sha256"] == sha(b'{"a":[1,null]}').hexdigest()
    assert (binary["payload"]["data"], binary["payload"]["sha256"]) == ("AP8=", sha(b"\x00\xff").hexdigest())
    assert long["payload"] == {
        "content_type": "text/plain",
        "size": 300_000,
        "sha256": sha(b"x" * 300_000).hexdigest(),
    }
    assert image["payload"]["data"] == [[[1, 2], [3, 4]]]
    assert (mixed["X"], mixed["Y"]) == ([["a", 1, None, 1]], [[0.25, 0.75]])
    assert floats["X"] == [[1.5, 2.5]] * 3 and "embedding" not in floats


def test_labels_come_by_feedback(broker: Kafka, topic: str) -> None:
    with serving(OURS, "Doubling", env=env(broker, topic)) as server:
        for message, headers in (
            ({"response": {"meta": {"puid": "a"}}, "truth": {"data": {"ndarray": [[1]]}}}, {}),
            ({"request": {"meta": {"puid": "b"}}, "truth": {"data": {"ndarray": [0, 1]}}}, {}),
            ({"truth": {"strData": "spam"}, "reward": 1}, {"Seldon-Puid": "c"}),
            ({"truth": {"data": {"ndarray": [[1]]}}}, {}),
            ({"reward": 1}, {"Seldon-Puid": "d"}),
        ):
            assert ask(server, message, headers, FEEDBACK)[0] == 200
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            send = channel.unary_unary(
                "/seldon.protos.Seldon/SendFeedback",
                messages.Feedback.SerializeToString,
                messages.SeldonMessage.FromString,
            )
            feedback = messages.Feedback()
            feedback.response.meta.puid = "e"
            feedback.truth.data.tensor.shape.extend([3, 1])
            feedback.truth.data.tensor.values.extend([1, 0, 1])
            send(feedback)
        labels = read_topic(broker.address, f"{topic}.labels", 4)
        eventually(lambda: counts(server, "labels") == {"logged": 4, "lost": 0, "sampled_out": 0, "without_id": 1})
    assert labels == [
        ("a", {"id": "a", "y": 1}),
        ("b", {"id": "b", "y": [0, 1]}),
        ("c", {"id": "c", "y": "spam"}),
        ("e", {"id": "e", "y": [1, 0, 1]}),
    ]


def test_a_sample_is_chosen_by_id(broker: Kafka, topic: str) -> None:
    with serving(OURS, "Doubling", env=env(broker, topic, MLOPS_RECORDS_SAMPLE="0.5")) as server:
        for _ in range(2):
            for number in range(100):
                ask(server, {"data": {"ndarray": [[1]]}, "meta": {"puid": str(number)}})
        eventually(lambda: sum(counts(server).values()) == 200)
        told = counts(server)
        keys = [key for key, _ in read_topic(broker.address, topic, int(told["logged"]))]
    assert 60 <= told["logged"] <= 140 and told["lost"] == 0
    assert keys[: len(keys) // 2] == keys[len(keys) // 2 :]


def test_what_waits_is_delivered_when_the_server_stops(broker: Kafka, topic: str) -> None:
    with serving(OURS, "Nothing", env=env(broker, topic), workers=2) as server:
        for number in range(200):
            ask(server, {"data": {"ndarray": [[number]]}})
        server.process.terminate()
        server.process.wait(20)
    assert length(broker.address, topic) == 200


@pytest.mark.parametrize("kind", [OURS, OURS_BESIDE_SELDON])
def test_without_a_broker_all_is_answered_and_counted(tmp_path: Path, kind: str) -> None:
    settings = {"MLOPS_RECORDS": "t", "MLOPS_BROKER": "127.0.0.1:1", "MLOPS_RECORDS_QUEUE": "20"}
    about = {"MLOPS_MODEL": "m", "MLOPS_MODEL_VERSION": "7", "MLOPS_MODEL_DIR": "/nowhere"}
    with serving(kind, "Doubling", env=settings | about) as server:
        for _ in range(50):
            begun = time.monotonic()
            assert ask(server, {"data": {"ndarray": [[1]]}})[0] == 200
            assert time.monotonic() - begun < 1
        eventually(lambda: counts(server)["lost"] == 30)
        eventually(lambda: "the queue is full: the broker is away" in server.output())
        server.process.terminate()
        server.process.wait(30)
        assert "20 messages to the broker were not delivered" in server.output()


def test_a_topic_that_does_not_exist_is_a_loss_with_a_reason(broker: Kafka) -> None:
    with serving(OURS, "Doubling", env=env(broker, "nowhere")) as server:
        assert ask(server, {"data": {"ndarray": [[1]]}})[0] == 200
        eventually(lambda: counts(server)["lost"] == 1, 60)
        eventually(lambda: "Unknown topic" in server.output())


def test_a_setting_that_cannot_be_used_ends_the_start_with_its_name() -> None:
    with serving(OURS, "Doubling", env={"MLOPS_RECORDS": "t"}, wait=False) as server:
        assert server.process.wait(30) == 2
        assert "MLOPS_BROKER is not set" in server.output()
