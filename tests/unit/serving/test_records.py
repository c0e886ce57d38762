# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What goes into a record and a label, under which id, and that nothing in it can fail a prediction."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops_runtime.serving.metrics import Registry, model_labels, render
from mlops_runtime.serving.model import PREDICT, Model, Options
from mlops_runtime.serving.record import (
    INLINE_BYTES,
    MESSAGE_BYTES,
    Writer,
    capture,
    capture_message,
    label,
    new_id,
)
from mlops_runtime.serving.records import Records, header_of
from mlops_runtime.serving.seldon import messages
from mlops_runtime.serving.wire import encode


class Kept:
    """A stream that keeps what it gets. `refuses`: as librdkafka's with a full queue."""

    def __init__(self, refuses: bool = False) -> None:
        self.sent: list[tuple[str, bytes, Any]] = []
        self.reasons: list[str] = []
        self.refuses = refuses
        self.waiting = 0

    def send(self, topic: str, key: bytes, value: bytes) -> bool:
        assert len(key) + len(value) < MESSAGE_BYTES
        if self.refuses:
            self.lose("full")
        else:
            self.sent.append((topic, key, json.loads(value)))
        return not self.refuses

    def lose(self, reason: str) -> None:
        self.reasons.append(reason)

    def poll(self) -> None:
        pass

    def close(self, _seconds: float) -> None:
        pass

    @property
    def logged(self) -> int:
        return len(self.sent)

    @property
    def lost(self) -> int:
        return len(self.reasons)


class Stand:
    """A model whose predictions are recorded."""

    def __init__(self, user: Any, sample: float = 1.0, refuses: bool = False) -> None:
        self.registry = Registry(model_labels({"MLOPS_MODEL": "m", "MLOPS_MODEL_VERSION": "3"}))
        self.stream = Kept(refuses)
        self.records = Records("t", sample, lambda: self.stream, self.registry)  # type: ignore[arg-type,return-value]
        self.model = Model(user, self.registry, Options(capture=Records.capture))

    def ask(self, request: Any, id: str = "i") -> Any:
        call = self.model.open(PREDICT, request)
        answer = self.model.run(call)
        self.records.predicted(id, call, answer)
        return answer

    def record(self, request: Any) -> dict[str, Any]:
        self.ask(request)
        assert not self.stream.reasons
        topic, key, record = self.stream.sent.pop()
        assert (topic, key) == ("t", b"i")
        return record  # type: ignore[no-any-return]


class Echo:
    def predict(self, X: Any, names: Any) -> Any:
        return X


class Answers:
    """Answers the same whatever it is asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, X: Any, names: Any) -> Any:
        return self.answer


def ndarray(rows: Any) -> dict[str, Any]:
    return {"data": {"ndarray": rows}}


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(2**70), 2**70)
values = numbers | st.text(max_size=5) | st.none() | st.booleans()


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(values, min_size=width, max_size=width), min_size=1)))
def test_a_table_of_anything_becomes_rows_of_numbers_strings_and_nulls(rows: list[list[Any]]) -> None:
    record = json.loads(Writer("m", "1").record("i", capture(np.array(rows, dtype=object)), [], ndarray([[1]])))
    assert len(record["X"]) == len(rows)
    for row, sent in zip(record["X"], rows, strict=True):
        assert len(row) == len(sent)
        for value, given_value in zip(row, sent, strict=True):
            assert not isinstance(value, bool | list | dict)
            if isinstance(given_value, float) and not math.isfinite(given_value):
                assert value is None
            else:
                assert value == given_value or value == float(given_value)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u1", "f2"])
def test_arrays_of_all_numbers_in_any_order_of_memory(dtype: str) -> None:
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    for given_array in (array, np.asfortranarray(array), array[:, ::-1][:, ::-1]):
        record = json.loads(Writer("m", "1").record("i", capture(given_array), ["a"], given_array))
        assert (record["X"], record["Y"]) == ([[0, 1, 2], [3, 4, 5]], [[0, 1, 2], [3, 4, 5]])


def test_the_record_has_the_features_that_came_not_what_the_class_made_of_them() -> None:
    class Spoils:
        def predict(self, X: Any, names: Any) -> Any:
            X[:] = 0
            return X

    assert Stand(Spoils()).record(ndarray([[1.5, 2.5]]))["X"] == [[1.5, 2.5]]


@pytest.mark.parametrize(
    ("answer", "y"),
    [
        (np.array([1, 2]), [[1], [2]]),
        ([0.5, float("nan")], [[0.5], [None]]),
        (["a", "b"], [["a"], ["b"]]),
        (np.array([[0.1, 0.9], [0.8, 0.2]]), [[0.1, 0.9], [0.8, 0.2]]),
        ([1, 2, 3], [[1, 2, 3]]),
        ({"a": 1}, {"a": 1}),
        ("text", "text"),
        (b"\x00", base64.b64encode(b"\x00").decode()),
    ],
)
def test_answers_of_two_rows(answer: Any, y: Any) -> None:
    assert Stand(Answers(answer)).record(ndarray([[1, 2], [3, 4]]))["Y"] == y
    message = messages.SeldonMessage()
    message.data.tensor.shape.extend([2, 2])
    message.data.tensor.values.extend([1, 2, 3, 4])
    record = Stand(Answers(answer)).record(message)
    assert (record["X"], record["Y"]) == ([[1, 2], [3, 4]], y)


def test_one_dimension_is_one_row() -> None:
    record = Stand(Answers([0.1, 0.9])).record(ndarray([1, 2, 3]))
    assert (record["X"], record["Y"]) == ([[1, 2, 3]], [[0.1, 0.9]])
    assert Stand(Answers([1])).record(ndarray([[1, 2]]))["Y"] == [[1]]


def test_a_mixed_table_keeps_its_numbers_for_a_class_that_gets_them_as_strings() -> None:
    assert Stand(Answers([[1]])).record(ndarray([["a", 1.5, True]]))["X"] == [["a", 1.5, 1]]


def test_a_class_that_reads_and_writes_messages_itself() -> None:
    class Raw:
        def predict_raw(self, request: Any) -> Any:
            return {"data": {"names": ["p"], "tensor": {"shape": [1, 1], "values": [0.5]}}}

    record = Stand(Raw()).record({"data": {"names": ["a"], "ndarray": [[7]]}})
    assert (record["X"], record["Y"], record["names"]) == ([[7]], [[0.5]], ["a"])
    stand = Stand(Raw())
    stand.ask({"what": "ever"})
    assert not stand.stream.sent and "a record can't be written" in stand.stream.reasons[0]


def test_a_body_that_is_passed_through() -> None:
    sent, _ = capture_message(b'{"x": 1}')
    assert json.loads(Writer("m", "1").record("i", sent, [], '{"y": 2}'))["payload"]["data"] == {"x": 1}
    assert capture_message(b"\x00")[0].binary == b"\x00"


@pytest.mark.parametrize(
    ("request_", "content_type", "body", "data"),
    [
        ({"strData": "ä"}, "text/plain", "ä".encode(), "ä"),
        ({"jsonData": {"a": 1}}, "application/json", b'{"a":1}', {"a": 1}),
        ({"binData": "AP8="}, "application/octet-stream", b"\x00\xff", "AP8="),
        (ndarray([[[1]]]), "application/json", b"[[[1]]]", [[[1]]]),
        (ndarray([[{"a": 1}, 2]]), "application/json", b'[[{"a":1},2]]', [[{"a": 1}, 2]]),
    ],
)
def test_what_is_no_table_is_a_payload(request_: Any, content_type: str, body: bytes, data: Any) -> None:
    record = Stand(Answers("yes")).record(request_)
    assert record["payload"] == {
        "content_type": content_type,
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "data": data,
    }
    assert "X" not in record and record["Y"] == "yes"


def test_a_large_payload_is_known_by_its_hash() -> None:
    text = "x" * (INLINE_BYTES + 1)
    payload = Stand(Answers("yes")).record({"strData": text})["payload"]
    assert payload == {
        "content_type": "text/plain",
        "size": len(text),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def test_what_the_broker_would_not_take_goes_without_payload_or_is_lost() -> None:
    stand = Stand(Answers("y" * 900_000))
    assert "data" not in stand.record({"strData": "x" * 200_000})["payload"]
    stand.ask(ndarray([[0.123456789] * 100] * 2000))
    assert not stand.stream.sent and "larger than the broker takes" in stand.stream.reasons[0]


@pytest.mark.parametrize(
    "answer", [[["\ud800"]], [[2**80]], [[object()]], {"a": {1, 2}}, [[1], [2, 3]]], ids=["surrogate", *"1234"]
)
def test_nothing_fails_a_prediction(answer: Any) -> None:
    stand = Stand(Answers(answer))
    call = stand.model.open(PREDICT, ndarray([[1]]))
    stand.records.predicted("\ud800", call, {"data": {"ndarray": answer}})
    assert len(stand.stream.sent) + len(stand.stream.reasons) == 1


def test_a_full_queue_is_counted() -> None:
    stand = Stand(Echo(), refuses=True)
    for _ in range(3):
        stand.ask(ndarray([[1]]))
    stand.records.poll()
    text = render(stand.registry.snapshot()).decode()
    assert 'mlops_prediction_records_total{model="m",version="3",outcome="lost"} 3.0' in text
    assert 'mlops_prediction_records_total{model="m",version="3",outcome="logged"} 0.0' in text


def test_the_answer_is_the_same_with_and_without_records() -> None:
    class Embeds(Echo):
        def embedding(self, X: Any, names: Any) -> Any:
            return X[:, :1] if len(X) < 2 else 1 / 0

    for request in (ndarray([[1.5, float("nan")]]), {"strData": "x"}, ndarray([["a", 1]]), ndarray([[1], [2]])):
        plain = Model(Embeds(), Registry(model_labels({})), Options())
        assert encode(Stand(Embeds()).ask(request)) == encode(plain.run(plain.open(PREDICT, request)))


def test_rows_that_were_predicted_together_have_records_and_embeddings_of_their_own() -> None:
    class Rows(Echo):
        def predict_rows(self, rows: Any) -> Any:
            return rows * 2

        def embedding(self, X: Any, names: Any) -> Any:
            return X * 10

    stand = Stand(Rows())
    calls = [stand.model.open(PREDICT, ndarray([[number]])) for number in (1, 2)]
    for call, answer in zip(calls, stand.model.run_rows(calls), strict=True):
        stand.records.predicted("i", call, answer)
    assert [(record["X"], record["Y"], record["embedding"]) for _, _, record in stand.stream.sent] == [
        ([[1]], [[2]], [[10.0]]),
        ([[2]], [[4]], [[20.0]]),
    ]


# Ids


def test_ids_are_in_order_of_time_and_differ() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(uuid.UUID(id).version == 7 and uuid.UUID(id).variant == uuid.RFC_4122 for id in ids)
    assert [id[:13] for id in ids] == sorted(id[:13] for id in ids)


def test_where_an_id_comes_from() -> None:
    assert Records.id_of({"meta": {"puid": "m"}}, "h") == "m"
    assert Records.id_of({"meta": {"puid": 5}}, "h") == "5"
    assert Records.id_of({"meta": None}, "h") == "h"
    assert Records.id_of([], "h") == "h"
    assert Records.id_of(messages.SeldonMessage(meta={"puid": "p"}), "h") == "p"
    assert uuid.UUID(Records.id_of({"meta": {"puid": ["a"]}}, "")).version == 7
    assert len(Records.id_of({"meta": {"puid": "x" * 5000}}, "")) == 256


@pytest.mark.parametrize("id", ["a\r\nSet-Cookie: x", "ä", "a\x00"])
def test_an_id_that_would_be_no_header_is_not_sent_back(id: str) -> None:
    assert header_of(id) == [] and header_of("a b") == [(b"seldon-puid", b"a b")]


def test_the_sample_is_the_same_for_a_request_and_its_label() -> None:
    stand = Stand(Echo(), sample=0.3)
    for number in range(2000):
        stand.ask(ndarray([[1]]), str(number))
    chosen = {key for _, key, _ in stand.stream.sent}
    assert 500 < len(chosen) < 700
    stand.stream.sent.clear()
    for number in range(2000):
        feedback = messages.Feedback(truth={"strData": "yes"})
        feedback.response.meta.puid = str(number)
        stand.records.labelled(feedback, "")
    assert {key for _, key, _ in stand.stream.sent} == chosen
    assert {topic for topic, _, _ in stand.stream.sent} == {"t.labels"}


@pytest.mark.parametrize(
    ("truth", "y"),
    [
        ({"data": {"ndarray": [[1]]}}, 1),
        ({"data": {"ndarray": [1]}}, 1),
        ({"data": {"ndarray": [[1], [0]]}}, [1, 0]),
        ({"data": {"ndarray": ["a", "b"]}}, ["a", "b"]),
        ({"data": {"ndarray": [["a"], ["b"]]}}, ["a", "b"]),
        ({"data": {"ndarray": [[1, 2], [3, 4]]}}, [[1, 2], [3, 4]]),
        ({"strData": "spam"}, "spam"),
        ({"jsonData": {"class": 1}}, {"class": 1}),
    ],
)
def test_labels(truth: Any, y: Any) -> None:
    from mlops_runtime.serving.payload import proto_of_json

    body = label("i", proto_of_json(truth, messages.SeldonMessage))
    assert body is not None and json.loads(body) == {"id": "i", "y": y}


def test_a_truth_without_content_is_no_label() -> None:
    assert label("i", messages.SeldonMessage()) is None
    assert label("i", messages.SeldonMessage(data={"ndarray": {}})) is None
