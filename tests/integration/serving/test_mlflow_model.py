# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The default class, on models as MLflow stores them: the local model's predictions under both servers; bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "runtime/src"))
sys.path.insert(0, str(HERE))

from mlops_runtime.serving.proto import prediction_pb2  # noqa: E402
from servers import ORACLE, OURS, Server, environment, python311, serving  # noqa: E402

pytestmark = pytest.mark.skipif(python311() is None, reason="these environments need Python 3.11, which is not here")

PREDICT = "/api/v1.0/predictions"
CLASS = "mlops_runtime.serving.MLflowModel"
MAKE = """
import json, pickle, sys
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
X, y = load_breast_cancer(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
pickle.dump(model, open(sys.argv[1] + "/model.pkl", "wb"))
json.dump({"X": X[:64].tolist(), "predict": model.predict(X[:64]).tolist(),
           "predict_proba": model.predict_proba(X[:64]).tolist()}, open(sys.argv[1] + "/../known.json", "w"))
"""
NAMES = [f"c{number}" for number in range(30)]


@pytest.fixture(scope="module", params=[OURS, ORACLE])
def kind(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def directory(kind: str, tmp_path_factory: Any) -> Path:
    """A model of that environment's scikit-learn, described as MLflow describes it (JSON is YAML)."""
    path: Path = tmp_path_factory.mktemp("mlflow") / "model"
    path.mkdir()
    subprocess.run([environment(kind)[0], "-c", MAKE, str(path)], check=True)
    inputs = [{"type": "double", "name": name, "required": True} for name in NAMES]
    description = {
        "flavors": {
            "sklearn": {"code": None, "pickled_model": "model.pkl", "serialization_format": "cloudpickle"},
            "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl"},
        },
        "signature": {"inputs": json.dumps(inputs), "outputs": None, "params": None},
    }
    (path / "MLmodel").write_text(json.dumps(description))
    return path


@pytest.fixture(scope="module", params=["predict", "predict_proba"])
def method(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(kind: str, directory: Path, method: str) -> Iterator[Server]:
    env = {
        "MLOPS_MODEL_DIR": str(directory),
        "PREDICTIVE_UNIT_PARAMETERS": json.dumps([{"name": "method", "value": method, "type": "STRING"}]),
    }
    with serving(kind, CLASS, env=env) as running:
        yield running


@pytest.mark.parametrize("count", [1, 64])
def test_predictions_are_those_of_the_local_model(server: Server, directory: Path, method: str, count: int) -> None:
    known = json.loads((directory.parent / "known.json").read_text())
    rows, wanted = known["X"][:count], known[method][:count]
    status, answer = server.post(PREDICT, {"data": {"ndarray": rows, "names": NAMES}})
    assert status == 200
    np.testing.assert_allclose(answer["data"]["ndarray"], wanted, rtol=0, atol=1e-6)
    assert answer["data"]["names"] == (["0", "1"] if method == "predict_proba" else [])
    values = [value for row in rows for value in row]
    status, answer = server.post(PREDICT, {"data": {"tensor": {"shape": [count, 30], "values": values}}})
    np.testing.assert_allclose(answer["data"]["tensor"]["values"], np.ravel(wanted), rtol=0, atol=1e-6)
    message = prediction_pb2.SeldonMessage()
    message.data.tensor.shape.extend([count, 30])
    message.data.tensor.values.extend(values)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary(
            "/seldon.protos.Seldon/Predict",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=prediction_pb2.SeldonMessage.FromString,
        )
        np.testing.assert_allclose(call(message).data.tensor.values, np.ravel(wanted), rtol=0, atol=1e-6)


ROW = [1.0] * 30
BAD = {
    "too few columns": ({"data": {"ndarray": [[1.0]]}}, "takes 30 columns"),
    "flat": ({"data": {"ndarray": ROW}}, "2 dimensions, not 1"),
    "cube": ({"data": {"ndarray": [[ROW]]}}, "2 dimensions, not 3"),
    "no rows": ({"data": {"ndarray": []}}, "2 dimensions, not 1"),
    "text in a column": ({"data": {"ndarray": [["x", *ROW[1:]]]}}, "takes numbers"),
    "nothing in a column": ({"data": {"ndarray": [[None, *ROW[1:]]]}}, "refuses the input"),
    "an object in a column": ({"data": {"ndarray": [[{}, *ROW[1:]]]}}, "takes numbers"),
    "names of others": ({"data": {"ndarray": [ROW], "names": ["x", *NAMES[1:]]}}, "missing: c0; unknown: x"),
    "too few names": ({"data": {"ndarray": [ROW], "names": ["x"]}}, "1 names for 30 columns"),
    "text": ({"strData": "x"}, "data.ndarray"),
    "json": ({"jsonData": {"a": 1}}, "data.ndarray"),
    "no payload": ({"data": {}}, "2 dimensions"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_400_with_the_reason(server: Server, name: str) -> None:
    message, words = BAD[name]
    status, answer = server.post(PREDICT, message)
    assert status == 400
    assert words in answer["status"]["info"]


def test_names_in_another_order(server: Server, directory: Path, method: str) -> None:
    known = json.loads((directory.parent / "known.json").read_text())
    message = {"data": {"ndarray": [row[::-1] for row in known["X"][:3]], "names": NAMES[::-1]}}
    np.testing.assert_allclose(server.post(PREDICT, message)[1]["data"]["ndarray"], known[method][:3], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"MLmodel": None}, "no file MLmodel"),
        ({"MLmodel": '{"flavors": {"spark": {}}}'}, "can be served"),
        ({"MLmodel": '{"flavors": {"python_function": {}, "xgboost": {}}}'}, "add mlflow-skinny"),
        ({"model.pkl": "not a pickle"}, "model.pkl"),
    ],
)
def test_a_directory_that_cannot_be_served(directory: Path, tmp_path: Path, change: Any, words: str) -> None:
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    for name, content in files.items():
        if (text := change.get(name, content)) is not None:
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with serving(OURS, CLASS, env={"MLOPS_MODEL_DIR": str(tmp_path)}, wait=False) as running:
        assert running.process.wait(30) == 1
        assert words in running.output()
