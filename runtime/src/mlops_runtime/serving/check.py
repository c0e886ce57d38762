# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the server works beside the versions that this environment brings. Run when an image is built.

With `--ask FILE` also whether a model does: the one that the container's variables name (MODEL_NAME, MLOPS_MODEL_DIR,
PREDICTIVE_UNIT_PARAMETERS) is loaded and asked what is in the file, as a request to /predictions; prints the answer.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any


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


def ask(request: Any) -> str:
    """What the model answers, as JSON. Raises what its class raises."""
    from mlops_runtime.serving.metrics import Registry, model_labels
    from mlops_runtime.serving.model import PREDICT, Model, Options
    from mlops_runtime.serving.settings import read_settings
    from mlops_runtime.serving.supervisor import import_class
    from mlops_runtime.serving.wire import encode
    from mlops_runtime.serving.worker import load_model

    settings = read_settings([])
    sys.path.append(os.getcwd())  # noqa: PTH109 as the server: the class lies in the working directory
    user = import_class(settings.interface)(**settings.parameters)
    load_model(user)
    model = Model(user, Registry(model_labels()), Options())
    return encode(model.run(model.open(PREDICT, request))).decode()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mlops_runtime.serving.check", description=__doc__)
    parser.add_argument("--ask", type=Path, metavar="FILE", help="a request for the model, JSON")
    options = parser.parse_args(arguments)
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
    if options.ask:
        try:
            print(ask(json.loads(options.ask.read_text())))
        except Exception as error:  # whatever a user's class raises
            logging.getLogger(__name__).debug("The model can't be asked", exc_info=True)
            print(f"The model can't be asked: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
