# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Uses MLflow through the gateway as people do: logs in, stores an artefact and reads it back, registers a model.

The administrator's password comes in MLFLOW_ADMIN_PASSWORD. With --reader, a user who may read the model of that name
and nothing else, whose password comes in MLFLOW_READER_PASSWORD, it is tried what that user may do. What this makes
bears the name --token, and is removed.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from checks import equal, run
from gateway_client import Answer, Gateway, add_arguments, from_arguments

API = "/api/2.0/mlflow"
ARTEFACTS = "/api/2.0/mlflow-artifacts/artifacts"
SIZES = (0, 1, (5 << 20) + 1)


class Client:
    """One user of the registry, or nobody."""

    def __init__(self, gateway: Gateway, user: str = "", password: str = "") -> None:
        self.gateway = gateway
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {token}"} if user else {}

    def ask(self, method: str, path: str, content: bytes | dict[str, Any] | None = None) -> Answer:
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        body = json.dumps(content) if isinstance(content, dict) else content
        headers = {**self.headers, "Content-Type": kind}
        return self.gateway.request(path, subdomain="mlflow", method=method, headers=headers, body=body)

    def done(self, method: str, path: str, content: bytes | dict[str, Any] | None = None) -> Answer:
        answer = self.ask(method, path, content)
        equal(answer.status, 200, f"{method} {path}: {answer.text()}")
        return answer

    def search(self) -> int:
        return self.ask("GET", f"{API}/registered-models/search").status


class Registry:
    """The checks, and what they make."""

    def __init__(self, gateway: Gateway, token: str, admin: Client, reader: Client | None) -> None:
        self.gateway = gateway
        self.token = token
        self.admin = admin
        self.reader = reader
        self.experiment = ""

    def checks(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "who does not log in is refused", lambda: equal(Client(self.gateway).search(), 401)
        public = Client(self.gateway, "admin", "password1234")
        yield "MLflow's public default password does not work", lambda: equal(public.search(), 401)
        yield "who logs in is answered", lambda: equal(self.admin.search(), 200)
        yield "an artefact comes back as it was stored", self.artefacts
        yield "a model is registered and found", self.registered
        if self.reader is not None:
            yield "a user may do what was granted, and no more", partial(self.rights, self.reader)

    def artefacts(self) -> None:
        made = self.admin.done("POST", f"{API}/experiments/create", {"name": self.token}).json()
        self.experiment = made["experiment_id"]
        run = self.admin.done("POST", f"{API}/runs/create", {"experiment_id": self.experiment}).json()["run"]["info"]
        place = run["artifact_uri"].removeprefix("mlflow-artifacts:").lstrip("/")
        for size in SIZES:
            content = os.urandom(size)
            self.admin.done("PUT", f"{ARTEFACTS}/{place}/{size}.bin", content)
            stored = self.admin.done("GET", f"{ARTEFACTS}/{place}/{size}.bin").body
            equal(hashlib.sha256(stored).hexdigest(), hashlib.sha256(content).hexdigest(), f"of {size} bytes")
            self.admin.done("DELETE", f"{ARTEFACTS}/{place}/{size}.bin")

    def registered(self) -> None:
        for name in self.models:
            self.admin.done("POST", f"{API}/registered-models/create", {"name": name})
            found = self.admin.done("GET", f"{API}/registered-models/get?name={name}").json()
            equal(found["registered_model"]["name"], name)

    @property
    def models(self) -> tuple[str, str]:
        """The one that the reader may read, and another."""
        return self.token, f"{self.token}-other"

    def rights(self, reader: Client) -> None:
        own, other = self.models
        change = {"name": own, "description": "changed"}
        answers = {
            "to read it": (200, reader.ask("GET", f"{API}/registered-models/get?name={own}")),
            "to read another": (403, reader.ask("GET", f"{API}/registered-models/get?name={other}")),
            "to change it": (403, reader.ask("PATCH", f"{API}/registered-models/update", change)),
            "to remove it": (403, reader.ask("DELETE", f"{API}/registered-models/delete", {"name": own})),
            "to list the users": (403, reader.ask("GET", f"{API}/users/list")),
        }
        for what, (status, answer) in answers.items():
            equal(answer.status, status, what)

    def remove(self) -> None:
        for name in self.models:
            self.admin.ask("DELETE", f"{API}/registered-models/delete", {"name": name})
        if self.experiment:
            self.admin.ask("POST", f"{API}/experiments/delete", {"experiment_id": self.experiment})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--token", default=f"verify-{secrets.token_hex(6)}", help="a name that nothing has")
    parser.add_argument("--reader", default="", help="the user who may read the model of that name")
    options = parser.parse_args()
    gateway = from_arguments(options)
    admin = Client(gateway, "admin", os.environ["MLFLOW_ADMIN_PASSWORD"])
    reader = Client(gateway, options.reader, os.environ["MLFLOW_READER_PASSWORD"]) if options.reader else None
    registry = Registry(gateway, options.token, admin, reader)
    try:
        return run(registry.checks())
    finally:
        registry.remove()


if __name__ == "__main__":
    sys.exit(main())
