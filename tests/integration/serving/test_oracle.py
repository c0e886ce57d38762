# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One battery of requests to the model server and to Seldon Core 1.17.1's wrapper: the same answers.

Where ours differs, it does so on purpose: DIFFERENCES is the whole list, and docs/serving.md has it for users.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.protobuf import json_format

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[2] / "runtime/src")]

from mlops_runtime.serving.proto import empty_pb2, prediction_pb2  # noqa: E402
from servers import ORACLE, OURS, OURS_BESIDE_SELDON, Server, python311, serving  # noqa: E402

pytestmark = pytest.mark.skipif(python311() is None, reason="Seldon Core 1.17.1 needs Python 3.11, which is not here")

PREDICT, FEEDBACK = "/api/v1.0/predictions", "/api/v1.0/feedback"
JSON = "application/json"


@dataclasses.dataclass(frozen=True)
class Rest:
    """A request over HTTP: `body` is sent as JSON, bytes as they are."""

    path: str
    body: Any = None
    method: str = "POST"
    content_type: str = JSON

    def ask(self, server: Server) -> Any:
        body = self.body if isinstance(self.body, bytes | None) else json.dumps(self.body).encode()
        status, answer = server.request(self.method, self.path, body, self.content_type)
        try:
            return status, _comparable(json.loads(answer))
        except ValueError:
            return status, answer


@dataclasses.dataclass(frozen=True)
class Rpc:
    """A call by gRPC of a method with the message that the JSON describes."""

    method: str
    body: Any = None
    kind: str = "SeldonMessage"
    answer: str = "SeldonMessage"

    def ask(self, server: Server) -> Any:
        if self.kind == "Empty":
            request = empty_pb2.Empty()
        else:
            request = json_format.ParseDict(self.body or {}, getattr(prediction_pb2, self.kind)())
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            call = channel.unary_unary(
                f"/seldon.protos.{self.method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=getattr(prediction_pb2, self.answer).FromString,
            )
            try:
                return "OK", _comparable(json_format.MessageToDict(call(request, timeout=10)))
            except grpc.RpcError as error:
                return error.code().name, error.details()


def _comparable(value: Any) -> Any:
    """NaN equals itself, and 1 is not 1.0."""
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else value.hex())
    return value


def ndarray(*rows: Any, **more: Any) -> dict[str, Any]:
    return {"data": {"ndarray": list(rows), **more}}


def tensor(shape: list[int], values: list[Any], **more: Any) -> dict[str, Any]:
    return {"data": {"tensor": {"shape": shape, "values": values}, **more}}


META = {
    "puid": "request-7",
    "tags": {"sent": "along", "label": "theirs"},
    "requestPath": {"before": "image:1"},
    "metrics": [{"key": "sent", "type": "GAUGE", "value": 1.5, "tags": {"a": "b"}}],
}
FEEDBACK_BODY = {
    "request": {**ndarray([1.0, 2.0], names=["a", "b"]), "meta": {"puid": "p"}},
    "response": {"meta": {"routing": {"unit-1": 4}}, **ndarray([0.5])},
    "reward": 0.5,
    "truth": ndarray([3.0]),
}
LIST = {"seldonMessages": [{**ndarray([1, 2]), "meta": META}, {**ndarray([3, 4]), "meta": {"tags": {"second": 2}}}]}
MULTIPART = "multipart/form-data; boundary=xyz"


def form(name: str, content: bytes, filename: str = "") -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n--xyz--\r\n"


def both(path: str, method: str, name: str, body: Any) -> dict[str, Rest | Rpc]:
    return {f"rest {name}": Rest(path, body), f"grpc {name}": Rpc(method, body)}


KINDS = ["text", "bytes", "dict", "list", "strings", "mixed", "flat", "floats", "single", "booleans", "cube", "empty"]
PAYLOADS = {
    "integers": ndarray([1, 2], [3, 4]),
    "floats": ndarray([1.5, -2e-10]),
    "mixed numbers": ndarray([1, 2.5]),
    "strings": ndarray(["a", "b"]),
    "mixed with strings": ndarray([1.5, "b"]),
    "flat": ndarray(1, 2, 3),
    "cube": ndarray([[1, 2], [3, 4]], [[5, 6], [7, 8]]),
    "booleans": ndarray([True, False]),
    "nulls": ndarray([1.5, None]),
    "empty": ndarray(),
    "names": ndarray([1, 2], names=["x", "y"]),
    "tensor": tensor([2, 2], [1.0, 2.0, 3.0, 4.5]),
    "tensor of one": tensor([1], [0.1]),
    "tensor with names": tensor([1, 2], [1.5, 2.5], names=["x", "y"]),
    "text": {"strData": "some text"},
    "bytes": {"binData": base64.b64encode(b"\x00\x01").decode()},
    "object": {"jsonData": {"a": [1.5, "x", None]}},
    "list in json": {"jsonData": [1.5, 2.5]},
    "json text": {"jsonData": "text"},
    "meta": {**ndarray([1.5]), "meta": META},
    "empty meta": {**ndarray([1.5]), "meta": {}},
}

#: class -> (environment, name of the case -> the request)
BATTERY: dict[str, tuple[dict[str, str], dict[str, Rest | Rpc]]] = {
    "Plain": (
        {},
        {
            **{
                key: case
                for name, body in PAYLOADS.items()
                for key, case in both(PREDICT, "Seldon/Predict", name, body).items()
            },
            "old path": Rest("/api/v0.1/predictions", ndarray([1])),
            "short path": Rest("/predict", ndarray([1])),
            "Model service": Rpc("Model/Predict", ndarray([1])),
            "get with json": Rest(f"/predict?json={quote(json.dumps(ndarray([1, 2])))}", method="GET"),
            "form with json": Rest(
                PREDICT,
                b"json=" + quote(json.dumps(ndarray([1, 2]))).encode(),
                content_type="application/x-www-form-urlencoded",
            ),
            "multipart json": Rest(PREDICT, form("data", b'{"ndarray": [[1]]}'), content_type=MULTIPART),
            "multipart text": Rest(PREDICT, form("strData", b"hello"), content_type=MULTIPART),
            "multipart text file": Rest(PREDICT, form("strData", b"hello", "a.txt"), content_type=MULTIPART),
            "multipart bytes": Rest(PREDICT, form("binData", b"\x00\xfe", "a.bin"), content_type=MULTIPART),
            "charset": Rest(PREDICT, ndarray([1]), content_type="application/json; charset=utf-8"),
            "NaN in the request": Rest(PREDICT, b'{"data": {"ndarray": [[NaN, Infinity]]}}'),
            "integer of 70 bits": Rest(PREDICT, b'{"data": {"ndarray": [[1180591620717411303424]]}}'),
            "unicode": Rest(PREDICT, {"strData": "\u00fc\U0001f600"}),
            "health": Rest("/health/status", method="GET"),
            "health under api": Rest("/api/v1.0/health/status", method="GET"),
            "ping": Rest("/health/ping", method="GET"),
            "metadata": Rest("/metadata", method="GET"),
            "metadata under api": Rest("/api/v1.0/metadata", method="GET"),
            "rpc metadata": Rpc("Model/Metadata", kind="Empty", answer="SeldonModelMetadata"),
            "transform input without": Rest("/transform-input", ndarray([1])),
            "transform output without": Rest("/transform-output", ndarray([1])),
            "feedback without": Rest(FEEDBACK, FEEDBACK_BODY),
            "rpc feedback without": Rpc("Seldon/SendFeedback", FEEDBACK_BODY, "Feedback"),
            "no body": Rest(PREDICT, b""),
            "not json": Rest(PREDICT, b"{not json"),
            "not json by its type": Rest(PREDICT, ndarray([1]), content_type="text/plain"),
            "a list": Rest(PREDICT, [1, 2]),
            "a number": Rest(PREDICT, 5),
            "no payload": Rest(PREDICT, {"meta": {}}),
            "feedback of nonsense": Rest(FEEDBACK, {"nonsense": 1}),
            "route without": Rest("/route", ndarray([1])),
            "ragged": Rest(PREDICT, ndarray([1, 2], [3])),
            "wrong shape": Rest(PREDICT, tensor([2, 2], [1.0])),
            "tensor without values": Rest(PREDICT, {"data": {"tensor": {"shape": [1]}}}),
            "data is a list": Rest(PREDICT, {"data": [[1]]}),
            "base64 broken": Rest(PREDICT, {"binData": "a"}),
            "rpc wrong shape": Rpc("Seldon/Predict", tensor([2, 2], [1.0])),
            "rpc nothing": Rpc("Seldon/Predict", {}),
            "unknown path": Rest("/nowhere", ndarray([1])),
            "wrong method": Rest("/health/ping", ndarray([1])),
            "rpc graph": Rpc("Seldon/GraphMetadata", kind="Empty", answer="SeldonGraphMetadata"),
            "rest tftensor": Rest(
                PREDICT,
                {
                    "data": {
                        "tftensor": {"dtype": "DT_DOUBLE", "tensorShape": {"dim": [{"size": "1"}]}, "doubleVal": [2.5]}
                    }
                },
            ),
            "rest route in words": Rest("/route", {"strData": "x"}),
        },
    ),
    "Doubling": (
        {
            "PREDICTIVE_UNIT_ID": "unit-1",
            "PREDICTIVE_UNIT_IMAGE": "registry.example:5000/doubling:0.3",
            "SELDON_DEPLOYMENT_ID": "deployment",
            "PREDICTOR_ID": "main",
            "PREDICTOR_LABELS": '{"version": "v7"}',
            "MODEL_METADATA": "platform: from-env\ncustom: {team: y}",
            "PREDICTIVE_UNIT_PARAMETERS": json.dumps(
                [
                    {"name": "factor", "value": "3", "type": "INT"},
                    {"name": "label", "value": "7", "type": "STRING"},
                    {"name": "exact", "value": "true", "type": "BOOL"},
                    {"name": "share", "value": "0.25", "type": "DOUBLE"},
                ]
            ),
        },
        {
            **{
                key: case
                for name in (
                    "integers",
                    "floats",
                    "flat",
                    "cube",
                    "names",
                    "tensor",
                    "tensor with names",
                    "meta",
                    "empty meta",
                )
                for key, case in both(PREDICT, "Seldon/Predict", name, PAYLOADS[name]).items()
            },
            **both("/transform-input", "Generic/TransformInput", "transform input", {**ndarray([1, 2]), "meta": META}),
            **both("/transform-output", "Generic/TransformOutput", "transform output", tensor([1, 2], [1.0, 2.0])),
            "transformer service": Rpc("Transformer/TransformInput", ndarray([1.0])),
            "output transformer service": Rpc("OutputTransformer/TransformOutput", ndarray([1.0, 2.0])),
            **both("/route", "Router/Route", "route", {**ndarray([1, 2]), "meta": META}),
            "generic route": Rpc("Generic/Route", ndarray([1.0])),
            "aggregate": Rest("/aggregate", LIST),
            "aggregate a list": Rest("/aggregate", LIST["seldonMessages"]),
            "aggregate nonsense": Rest("/aggregate", {"x": 1}),
            "rpc aggregate": Rpc("Combiner/Aggregate", LIST, "SeldonMessageList"),
            "generic aggregate": Rpc("Generic/Aggregate", LIST, "SeldonMessageList"),
            "feedback": Rest(FEEDBACK, FEEDBACK_BODY),
            "feedback short": Rest("/send-feedback", FEEDBACK_BODY),
            "feedback old": Rest("/api/v0.1/feedback", {"reward": 1}),
            "rpc feedback": Rpc("Seldon/SendFeedback", FEEDBACK_BODY, "Feedback"),
            "router feedback": Rpc("Router/SendFeedback", FEEDBACK_BODY, "Feedback"),
            "health": Rest("/health/status", method="GET"),
            "metadata": Rest("/metadata", method="GET"),
            "rpc metadata": Rpc("Model/Metadata", kind="Empty", answer="SeldonModelMetadata"),
            "rpc model metadata": Rpc(
                "Seldon/ModelMetadata", {"name": "x"}, "SeldonModelMetadataRequest", "SeldonModelMetadata"
            ),
        },
    ),
    "Kinds": (
        {},
        {
            **{
                key: case
                for kind in [*KINDS, "tagged", "big"]
                for key, case in both(PREDICT, "Model/Predict", kind, {"strData": kind}).items()
            },
            **{
                f"seen {key}": case
                for name, body in PAYLOADS.items()
                for key, case in both(PREDICT, "Seldon/Predict", name, body).items()
            },
            "rest nan": Rest(PREDICT, {"strData": "nan"}),
            "rest bad-metric": Rest(PREDICT, {"strData": "bad-metric"}),
            "rest number": Rest(PREDICT, {"strData": "number"}),
            "rest none": Rest(PREDICT, {"strData": "none"}),
            "rpc bad-metric": Rpc("Seldon/Predict", {"strData": "bad-metric"}),
            "rpc number": Rpc("Seldon/Predict", {"strData": "number"}),
        },
    ),
    "Raw": (
        {},
        {
            "rest predict": Rest(PREDICT, ndarray([1, 2])),
            "rest status": Rest(PREDICT, {"strData": "teapot"}),
            "grpc predict": Rpc("Seldon/Predict", tensor([1, 1], [2.5])),
            "rest feedback": Rest(FEEDBACK, FEEDBACK_BODY),
            "grpc feedback": Rpc("Model/SendFeedback", FEEDBACK_BODY, "Feedback"),
            **both("/transform-input", "Generic/TransformInput", "transform input", {**ndarray([1.5]), "meta": META}),
            **both("/transform-output", "Generic/TransformOutput", "transform output", ndarray([1.5])),
            **both("/route", "Router/Route", "route", tensor([1], [2.0])),
            "rest aggregate": Rest("/aggregate", LIST),
            "grpc aggregate": Rpc("Combiner/Aggregate", LIST, "SeldonMessageList"),
            "health": Rest("/health/status", method="GET"),
        },
    ),
    "Failing": (
        {},
        {
            **{f"rest {how}": Rest(PREDICT, {"strData": how}) for how in ("seldon", "bad", "type", "anything")},
            **{f"grpc {how}": Rpc("Seldon/Predict", {"strData": how}) for how in ("seldon", "bad", "type", "anything")},
            "rest route": Rest("/route", {"strData": "x"}),
            "rest aggregate": Rest("/aggregate", LIST),
        },
    ),
    "FlaskErrors": (
        {},
        {
            **{f"rest {how}": Rest(PREDICT, {"strData": how}) for how in ("own", "seldon", "anything")},
            "grpc own": Rpc("Seldon/Predict", {"strData": "own"}),
        },
    ),
    "Legacy": (
        {},
        {
            "rest predict": Rest(PREDICT, {"strData": "x", "meta": {"puid": "1"}}),
            "grpc predict": Rpc("Seldon/Predict", {"strData": "x"}),
            "rest feedback": Rest(FEEDBACK, FEEDBACK_BODY),
        },
    ),
    "Nothing": (
        {},
        {
            **both(PREDICT, "Seldon/Predict", "predict", ndarray([1.5])),
            "transform": Rest("/transform-input", ndarray([1.5])),
            "route": Rest("/route", ndarray([1.5])),
            "aggregate": Rest("/aggregate", LIST),
            "feedback": Rest(FEEDBACK, FEEDBACK_BODY),
            "health": Rest("/health/status", method="GET"),
            "metadata": Rest("/metadata", method="GET"),
        },
    ),
    "Old": ({}, {**both(PREDICT, "Seldon/Predict", "predict", ndarray([1.5]))}),
}

NEEDS_FLASK = {"FlaskErrors"}
#: What ours answers where it differs from the wrapper on purpose: HTTP's status or gRPC's code, and words in it.
DIFFERENCES: dict[tuple[str, str], tuple[Any, str]] = {
    # Requests that can't be read are the client's fault: 400 with the reason; the wrapper says 500 or predicts nothing
    ("Plain", "ragged"): (400, "MICROSERVICE_BAD_DATA"),
    ("Plain", "wrong shape"): (400, "MICROSERVICE_BAD_DATA"),
    ("Plain", "tensor without values"): (400, "MICROSERVICE_BAD_DATA"),
    ("Plain", "data is a list"): (400, "MICROSERVICE_BAD_DATA"),
    ("Plain", "base64 broken"): (400, "MICROSERVICE_BAD_DATA"),
    # Unknown paths and wrong methods have HTTP's own statuses, where the wrapper says 500
    ("Plain", "unknown path"): (404, "MICROSERVICE_NOT_FOUND"),
    ("Plain", "wrong method"): (405, "MICROSERVICE_BAD_METHOD"),
    # tftensor works without TensorFlow
    ("Plain", "rest tftensor"): (200, "doubleVal"),
    # Integers beyond 64 bits become floats
    ("Plain", "integer of 70 bits"): (200, "float"),
    # gRPC has codes that fit and the exception's message, where the wrapper has UNKNOWN and no words
    ("Plain", "rpc wrong shape"): ("INVALID_ARGUMENT", "reshape"),
    ("Plain", "rpc nothing"): ("INVALID_ARGUMENT", "Unknown data in SeldonMessage"),
    ("Plain", "rpc graph"): ("UNIMPLEMENTED", "GraphMetadata"),
    ("Kinds", "rpc bad-metric"): ("INTERNAL", "Bad metric"),
    ("Kinds", "rpc number"): ("INVALID_ARGUMENT", "Unknown data type"),
    ("Failing", "grpc seldon"): ("UNKNOWN", "not like this"),
    ("Failing", "grpc bad"): ("INVALID_ARGUMENT", "just bad"),
}


@pytest.mark.parametrize("model_class", BATTERY)
def test_same_answers(model_class: str) -> None:
    env, cases = BATTERY[model_class]
    kinds = [OURS_BESIDE_SELDON] if model_class in NEEDS_FLASK else [OURS, OURS_BESIDE_SELDON]
    wrong: list[str] = []
    with contextlib.ExitStack() as stack:
        oracle, *ours = (
            stack.enter_context(serving(kind, model_class, env=env, wait=False)) for kind in (ORACLE, *kinds)
        )
        for server in (oracle, *ours):
            server.wait()
        for name, case in cases.items():
            wanted = case.ask(oracle)
            for server in ours:
                if problem := _difference(model_class, name, case.ask(server), wanted):
                    wrong.append(f"{server.kind}, {name}: {problem}")
    assert not wrong, "\n".join(wrong)


def _difference(model_class: str, name: str, got: Any, wanted: Any) -> str:
    if (model_class, name) not in DIFFERENCES:
        return "" if got == wanted else f"\n    ours    {got}\n    oracle  {wanted}"
    status, words = DIFFERENCES[model_class, name]
    if got[0] != status or words not in str(got[1]):
        return f"{got}, where {status} with {words!r} is documented"
    return "documented as different, and isn't" if got == wanted else ""
