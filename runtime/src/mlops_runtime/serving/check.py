# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the server works beside the versions that this environment brings. Run when an image is built."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys


def problems() -> list[str]:
    found = []
    try:
        importlib.import_module("numpy")
    except ImportError as error:
        return [f"the model's lock holds no numpy that works here ({error}); Seldon's contract is made of its arrays"]
    for name in ("worker", "supervisor", "mlflow_model", "stream"):
        try:
            importlib.import_module(f"mlops_runtime.serving.{name}")
        except Exception as error:  # whatever a foreign version raises
            found.append(f"mlops_runtime.serving.{name}: {type(error).__name__}: {error}")
    return found


def main() -> int:
    from mlops_runtime.serving.seldon import install_shim

    install_shim()
    if found := problems():
        print("The model's requirements and the model server don't go together:", *found, sep="\n  ", file=sys.stderr)
        print("Versions in this environment:", file=sys.stderr)
        for name in (
            "numpy",
            "protobuf",
            "grpcio",
            "uvicorn",
            "uvloop",
            "httptools",
            "orjson",
            "PyYAML",
            "confluent-kafka",
        ):
            try:
                print(f"  {name} {importlib.metadata.version(name)}", file=sys.stderr)
            except importlib.metadata.PackageNotFoundError:
                print(f"  {name} is missing", file=sys.stderr)
        return 1
    from mlops_runtime.serving.metrics import Registry, model_labels
    from mlops_runtime.serving.model import PREDICT, Model, Options
    from mlops_runtime.serving.seldon import messages
    from mlops_runtime.serving.wire import encode

    class Echo:
        def predict(self, X: object, names: object) -> object:  # noqa: ARG002 Seldon's signature
            return X

    model = Model(Echo(), Registry(model_labels()), Options())
    request = {"data": {"ndarray": [[1.0, 2.0]]}}
    answer = encode(model.run(model.open(PREDICT, request)))
    message = messages.SeldonMessage(strData="x")
    if b"[[1.0,2.0]]" not in answer or model.run(model.open(PREDICT, message)).strData != "x":
        print(f"The model server answers wrong in this environment: {answer!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
