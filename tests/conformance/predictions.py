# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Asks a served model through the gateway and compares its answers with those of the same model loaded here.

One row and 64 rows, by REST and by gRPC, as ndarray and as tensor; equal to 1e-6, or this ends with 1. By default it
asks for the example on this machine:

    python tests/conformance/predictions.py --url http://localhost

The local model is loaded in the environment that the example's training lock names, made once in the user's cache.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".collections"), str(ROOT / "runtime/src"), str(ROOT / "tests/conformance")]

from ansible_collections.mlops.onprem.plugins.modules.model_source import default_cache, make_environment  # noqa: E402
from gateway_client import Gateway, add_arguments, from_arguments  # noqa: E402
from mlops_runtime.serving.proto import prediction_pb2  # noqa: E402

EXAMPLE = ROOT / "examples/phishing"
TOLERANCE = 1e-6
TIMEOUT = 30
LOCAL = """
import json, sys
import mlflow.sklearn, pandas
model = mlflow.sklearn.load_model(sys.argv[1])
asked = json.load(sys.stdin)
table = pandas.DataFrame(asked["rows"], columns=asked["names"])
if not hasattr(model, "feature_names_in_"):
    table = table.to_numpy()
print(json.dumps(getattr(model, sys.argv[2])(table).tolist()))
"""
Ask = Callable[[list[list[float]]], Any]


class Rest:
    """Seldon's REST protocol."""

    def __init__(self, gateway: Gateway, namespace: str, model: str, names: list[str]) -> None:
        self.gateway = gateway
        self.path = f"{gateway.parts.path.rstrip('/')}/seldon/{namespace}/{model}/api/v1.0/predictions"
        self.names = names

    def ask(self, data: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"data": {"names": self.names, **data}})
        headers = {"Content-Type": "application/json"}
        answer = self.gateway.request(self.path, method="POST", headers=headers, body=body)
        if answer.status != 200:
            raise AssertionError(f"HTTP {answer.status} at {self.path}: {answer.text()}")
        return dict(answer.json())

    def ndarray(self, rows: list[list[float]]) -> Any:
        return self.ask({"ndarray": rows})["data"]["ndarray"]

    def tensor(self, rows: list[list[float]]) -> Any:
        shape = [len(rows), len(rows[0])]
        found = self.ask({"tensor": {"shape": shape, "values": [value for row in rows for value in row]}})["data"][
            "tensor"
        ]
        return np.reshape(found["values"], found["shape"])


class Grpc:
    """Seldon's gRPC protocol on the gateway's port; the model is named in the metadata."""

    def __init__(self, gateway: Gateway, namespace: str, model: str, names: list[str]) -> None:
        target = f"{gateway.connects_to or gateway.domain}:{gateway.port}"
        options = [("grpc.default_authority", gateway.parts.netloc)]
        if gateway.secure:
            options.append(("grpc.ssl_target_name_override", gateway.domain))
            roots = Path(gateway.ca).read_bytes() if gateway.ca else None
            self.channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options)
        else:
            self.channel = grpc.insecure_channel(target, options)
        self.metadata = (("seldon", model), ("namespace", namespace))
        self.names = names

    def ask(self, service: str, message: Any) -> Any:
        call = self.channel.unary_unary(
            f"/seldon.protos.{service}/Predict",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=prediction_pb2.SeldonMessage.FromString,
        )
        return call(message, metadata=self.metadata, timeout=TIMEOUT)

    def message(self, rows: list[list[float]], service: str) -> Any:
        message = prediction_pb2.SeldonMessage()
        message.data.names.extend(self.names)
        message.data.tensor.shape.extend([len(rows), len(rows[0])])
        message.data.tensor.values.extend(value for row in rows for value in row)
        return self.ask(service, message)

    def tensor(self, rows: list[list[float]], service: str = "Seldon") -> Any:
        found = self.message(rows, service).data.tensor
        return np.reshape(list(found.values), list(found.shape))

    def model_service(self, rows: list[list[float]]) -> Any:
        return self.tensor(rows, "Model")

    def ndarray(self, rows: list[list[float]]) -> Any:
        message = prediction_pb2.SeldonMessage()
        message.data.names.extend(self.names)
        for row in rows:
            message.data.ndarray.append(row)
        found = self.ask("Seldon", message).data.ndarray
        return [list(row) if hasattr(row, "__iter__") else row for row in found]


def local_predictions(lock: Path, model: Path, method: str, names: list[str], rows: list[list[float]]) -> Any:
    """What the model answers in the environment that it was trained in."""
    python = make_environment(lock, default_cache(), 900) / "bin/python"
    done = subprocess.run(
        [str(python), "-c", LOCAL, str(model), method],
        input=json.dumps({"names": names, "rows": rows}),
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"the model can't be asked here:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def read_rows(file: Path, target: str) -> tuple[list[str], list[list[float]]]:
    with file.open(newline="") as stream:
        table = list(csv.DictReader(stream))
    names = [name for name in table[0] if name != target]
    return names, [[float(row[name]) for name in names] for row in table]


def compare(what: str, ask: Ask, rows: list[list[float]], expected: list[Any]) -> float:
    found = np.asarray(ask(rows), dtype=float)
    wanted = np.asarray(expected, dtype=float)
    if found.shape != wanted.shape:
        raise AssertionError(f"{what}: {len(rows)} rows were answered with the shape {found.shape}, not {wanted.shape}")
    difference = float(np.abs(found - wanted).max())
    if not difference <= TOLERANCE:
        raise AssertionError(f"{what}: {len(rows)} rows differ from the local model by {difference:g}")
    return difference


def checks(gateway: Gateway, namespace: str, model: str, names: list[str]) -> Iterable[tuple[str, Ask]]:
    rest, rpc = Rest(gateway, namespace, model, names), Grpc(gateway, namespace, model, names)
    yield "REST ndarray", rest.ndarray
    yield "REST tensor", rest.tensor
    yield "gRPC tensor", rpc.tensor
    yield "gRPC ndarray", rpc.ndarray
    yield "gRPC service Model", rpc.model_service


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--namespace", default="mlops", help="the platform's name")
    parser.add_argument("--model", default="phishing")
    parser.add_argument("--directory", type=Path, default=EXAMPLE / "build/model", help="the model as MLflow saved it")
    parser.add_argument(
        "--lock", type=Path, default=EXAMPLE / "requirements-train.txt", help="its training environment"
    )
    parser.add_argument("--rows", type=Path, default=EXAMPLE / "build/test.csv", help="rows with a header")
    parser.add_argument("--target", default="is_phishing", help="the column that is no feature")
    parser.add_argument("--method", default="predict_proba", choices=["predict", "predict_proba"])
    options = parser.parse_args()

    names, rows = read_rows(options.rows, options.target)
    rows = rows[:64]
    expected = local_predictions(options.lock, options.directory, options.method, names, rows)
    failed = 0
    for what, ask in checks(from_arguments(options), options.namespace, options.model, names):
        for count in (1, len(rows)):
            try:
                difference = compare(what, ask, rows[:count], expected[:count])
                print(f"ok      {what}, {count} rows: equal to {difference:.1e}")
            except (AssertionError, OSError, grpc.RpcError) as error:
                failed += 1
                print(f"FAILED  {what}, {count} rows: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
