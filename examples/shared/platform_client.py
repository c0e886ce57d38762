# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The platform as a client sees it: models behind the gateway, and what Prometheus says of them.

Standard library alone.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT = 30


class Refused(Exception):
    """An answer that isn't what was asked for."""


class Gateway:
    """One address of the platform, on one connection.

    `address`: where it is reached while the domain doesn't resolve. `ca`: PEM file to trust.
    """

    def __init__(self, url: str, address: str = "", ca: str = "") -> None:
        parts = urllib.parse.urlsplit(url)
        host = address or parts.hostname or ""
        if parts.scheme == "https":
            # Reached by an address, the certificate is still the domain's: it is checked, the name is not.
            trust = ssl.create_default_context(cafile=ca or None)
            trust.check_hostname = not address
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, parts.port or 443, timeout=TIMEOUT, context=trust
            )
        else:
            self._connection = http.client.HTTPConnection(host, parts.port or 80, timeout=TIMEOUT)
        self._host = parts.netloc
        self._root = parts.path.rstrip("/")

    def ask(
        self, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Any], http.client.HTTPMessage]:
        """The answer and its headers; a body is posted, as JSON. Raises Refused, OSError."""
        given = {"Host": self._host, **(headers or {})}
        try:
            if body is None:
                self._connection.request("GET", self._root + path, headers=given)
            else:
                given["Content-Type"] = "application/json"
                self._connection.request("POST", self._root + path, json.dumps(body), given)
            answer = self._connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise Refused(f"{path}: {type(error).__name__} {error}") from error
        if answer.status != 200:
            raise Refused(f"HTTP {answer.status} at {path}: {text[:300].decode(errors='replace')}")
        try:
            return dict(json.loads(text)), answer.headers
        except ValueError as error:
            raise Refused(f"{path}: no JSON, but {text[:300].decode(errors='replace')}") from error


@dataclass(frozen=True)
class Prediction:
    """Of one row: the chance of each class, the version that answered, and the request's id."""

    chances: Mapping[str, float]
    version: str
    id: str

    @property
    def answer(self) -> str:
        """The likeliest class."""
        return max(self.chances, key=lambda name: self.chances[name])


class Model:
    """A served model that answers probabilities, by Seldon's protocol; without a namespace its own server is asked."""

    def __init__(self, gateway: Gateway, namespace: str, name: str) -> None:
        self._gateway = gateway
        self._name = name
        self._path = (f"/seldon/{namespace}/{name}" if namespace else "") + "/api/v1.0"

    def predict(self, row: Mapping[str, float]) -> Prediction:
        request = {"data": {"names": list(row), "ndarray": [list(row.values())]}}
        answer, headers = self._gateway.ask(f"{self._path}/predictions", request)
        data = answer.get("data", {})
        chances = dict(zip(data.get("names", []), data.get("ndarray", [[]])[0], strict=False))
        if not chances:
            raise Refused(f"{self._path}/predictions: no probabilities, but {json.dumps(answer)[:300]}")
        # Who has answered, as "<image>:<version>".
        path = answer.get("meta", {}).get("requestPath", {})
        version = str(path.get(self._name, "")).rpartition(":")[2]
        return Prediction(chances, version, headers.get("Seldon-Puid", ""))

    def tell(self, prediction: Prediction, truth: object) -> None:
        """What the row really was."""
        meta = {"puid": prediction.id}
        self._gateway.ask(
            f"{self._path}/feedback", {"response": {"meta": meta}, "truth": {"data": {"ndarray": [truth]}}}
        )


@dataclass(frozen=True)
class Reading:
    """What one detector says of one version: of a feature, or of all of them together."""

    version: str
    detector: str
    feature: str
    ratio: float
    """The statistic over its threshold: above 1 is drift."""
    drifting: bool
    """Also for a while after it was above."""


class Prometheus:
    """The platform's metrics, for somebody who has a login."""

    def __init__(self, gateway: Gateway, user: str, password: str) -> None:
        self._gateway = gateway
        self._login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series. Raises Refused, OSError."""
        query = urllib.parse.urlencode({"query": expression})
        answer, _ = self._gateway.ask(f"/api/v1/query?{query}", headers={"Authorization": self._login})
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

    def drift(self, model: str) -> list[Reading]:
        """Of all versions that are watched, the furthest from usual first."""

        def by_detector(metric: str) -> dict[tuple[str, str, str], float]:
            found = self.query(f'{metric}{{model="{model}"}}')
            return {
                (of.get("version", ""), of.get("detector", ""), of.get("feature", "")): value for of, value in found
            }

        detected = by_detector("mlops_drift_detected")
        ratios = by_detector("mlops_drift_score_ratio")
        readings = [Reading(*key, ratio, detected.get(key, 0) > 0) for key, ratio in ratios.items()]
        return sorted(readings, key=lambda reading: (not reading.drifting, -reading.ratio))
