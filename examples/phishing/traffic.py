# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Asks the served model about web pages, as a user of it would: pages of its test set, or those of a new campaign.

    python traffic.py                       500 pages like those that the model was trained on
    python traffic.py --drifted             ... whose addresses are bare IPs on young domains, as never before
    python traffic.py --labels              ... and tells the platform afterwards what they really were

Standard library alone. The rows are those that train.py left in build/test.csv.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import random
import ssl
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = "is_phishing"
TIMEOUT = 30
#: What a new kind of phishing looks like: the pages are real ones, but for this.
CAMPAIGN = {"ip_in_url": 1.0, "age_of_domain": 0.0}


class Refused(Exception):
    """An answer that is no prediction."""


class Model:
    """A served model at the platform's gateway, on one connection."""

    def __init__(self, url: str, address: str, ca: str, path: str) -> None:
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
        self._headers = {"Content-Type": "application/json", "Host": parts.netloc}
        self._path = f"{parts.path.rstrip('/')}{path}/api/v1.0"

    def ask(self, what: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The answer, and the request's id as the model's server knows it."""
        self._connection.request("POST", f"{self._path}/{what}", json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise Refused(f"HTTP {answer.status} at {self._path}/{what}: {text[:300].decode(errors='replace')}")
        return dict(json.loads(text)), answer.getheader("Seldon-Puid", "")


def pages(file: Path, count: int, *, drifted: bool, seed: int) -> Iterator[tuple[dict[str, float], float]]:
    """Pages of the test set, drawn anew, each with what it really was."""
    with file.open(newline="") as stream:
        known = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]
    draw = random.Random(seed)
    for page in draw.choices(known, k=count):
        page = dict(page)
        truth = page.pop(TARGET)
        yield page | (CAMPAIGN if drifted else {}), truth


def send(model: Model, rows: Iterator[tuple[dict[str, float], float]], *, labels: bool) -> tuple[int, int]:
    """Asks for each page by itself; returns how many were asked for, and how many were called phishing."""
    asked = phishing = 0
    for page, truth in rows:
        request = {"data": {"names": list(page), "ndarray": [list(page.values())]}}
        answer, name = model.ask("predictions", request)
        asked += 1
        phishing += answer["data"]["ndarray"][0][1] > 0.5
        if labels:
            model.ask("feedback", {"response": {"meta": {"puid": name}}, "truth": {"data": {"ndarray": [truth]}}})
    return asked, phishing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drifted", action="store_true", help="pages of a new kind")
    parser.add_argument("--labels", action="store_true", help="tell what the pages really were")
    parser.add_argument("--rows", type=int, default=500, help="how many pages (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which pages")
    parser.add_argument("--url", default="http://localhost", help="the platform's address (%(default)s)")
    parser.add_argument("--address", default="", help="where the gateway is reached while the domain doesn't resolve")
    parser.add_argument("--ca", default="", help="PEM file to trust, such as inventories/<name>/tls/ca.pem")
    parser.add_argument("--namespace", default="mlops", help="the platform's name (%(default)s)")
    parser.add_argument("--model", default="phishing")
    parser.add_argument("--data", type=Path, default=HERE / "build/test.csv")
    options = parser.parse_args()
    model = Model(options.url, options.address, options.ca, f"/seldon/{options.namespace}/{options.model}")
    rows = pages(options.data, options.rows, drifted=options.drifted, seed=options.seed)
    try:
        asked, phishing = send(model, rows, labels=options.labels)
    except (Refused, OSError) as error:
        print(f"{options.url}: {error}", file=sys.stderr)
        return 1
    print(f"{asked} pages, {phishing} called phishing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
