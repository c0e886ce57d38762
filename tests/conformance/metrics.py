# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Asks Prometheus through the gateway: who has no login gets nothing; its pages are whole; everything that declares
metrics is scraped; a model's predictions are counted.

The password of `admin` comes in PROMETHEUS_ADMIN_PASSWORD. `--at SECONDS` asks only whether what was known then is
known still. Ends with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import checks
from gateway_client import Answer, Gateway, add_arguments, from_arguments

SUBDOMAIN = "prometheus"
PATIENCE = 60
"""Seconds for what has just started to be scraped."""
EXAMPLE = {"data": {"ndarray": [[1.0] * 9]}}
"""A row of the phishing example."""


class Pages:
    """Prometheus behind the gateway, as `admin` or as nobody."""

    def __init__(self, gateway: Gateway, password: str) -> None:
        self.gateway = gateway
        self._login = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()

    def get(self, path: str, login: bool = True) -> Answer:
        headers = {"Authorization": self._login} if login else {}
        return self.gateway.request(path, subdomain=SUBDOMAIN, headers=headers)

    def follow(self, path: str, hops: int = 5) -> Answer:
        """As a browser does."""
        for _ in range(hops):
            answer = self.get(path)
            if answer.status not in (301, 302, 307, 308):
                return answer
            path = urllib.parse.urlsplit(urllib.parse.urljoin(path, answer.headers["Location"])).path
        raise AssertionError(f"{path}: more than {hops} redirections")

    def api(self, path: str, **parameters: str) -> Any:
        answer = self.get(f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        checks.equal(answer.status, 200, answer.text())
        return answer.json()["data"]

    def query(self, expression: str, **parameters: str) -> list[dict[str, Any]]:
        return list(self.api("query", query=expression, **parameters)["result"])


def only_with_a_login(pages: Pages) -> None:
    for path in ("/", "/graph", "/api/v1/query?query=up", "/metrics", "/-/ready", "/federate"):
        checks.equal(pages.get(path, login=False).status, 401, path)
    checks.equal(Pages(pages.gateway, "wrong").get("/graph").status, 401, "with a wrong password")


def pages_are_whole(pages: Pages) -> None:
    """The page, and each file that it names."""
    page = pages.follow("/graph")
    checks.equal(page.status, 200, "/graph")
    files = re.findall(r'(?:src|href)="([^"]*static/[^"]*)"', page.body.decode())
    if not files:
        raise AssertionError("the page names no files")
    for file in files:
        path = urllib.parse.urljoin("/graph/", file)
        answer = pages.get(path)
        if answer.status != 200 or not answer.body:
            raise AssertionError(f"{path}: {answer.status}, {len(answer.body)} bytes")


def everything_is_scraped(pages: Pages, expected: list[str]) -> None:
    def complaint() -> str:
        targets = pages.api("targets", state="active")["activeTargets"]
        known = {target["labels"].get("workload") for target in targets}
        missing = [f"{name} is not known" for name in expected if name not in known]
        down = [f"{item['labels'].get('workload')}: {item['lastError']}" for item in targets if item["health"] != "up"]
        return "; ".join(missing + down)

    checks.eventually(complaint, PATIENCE)


def rules_are_evaluated(pages: Pages) -> None:
    groups = pages.api("rules")["groups"]
    broken = [
        f"{rule['name']}: {rule.get('lastError')}"
        for group in groups
        for rule in group["rules"]
        if rule["health"] == "err"
    ]
    checks.equal(broken, [])
    if not groups:
        raise AssertionError("there are no rules")


def predictions_are_counted(pages: Pages, namespace: str, model: str) -> None:
    selector = f'seldon_api_executor_server_requests_seconds_count{{model="{model}",code="200"}}'

    def count() -> float:
        return sum(float(series["value"][1]) for series in pages.query(selector))

    path = f"/seldon/{namespace}/{model}/api/v1.0/predictions"

    def complaint() -> str:
        answer = pages.gateway.request(
            path, method="POST", headers={"Content-Type": "application/json"}, body=json.dumps(EXAMPLE)
        )
        checks.equal(answer.status, 200, answer.text())
        return "" if count() > 0 else f"{selector} counts nothing"

    checks.eventually(complaint, PATIENCE)


def remembers(pages: Pages, at: str) -> None:
    if not pages.query("up", time=at):
        raise AssertionError(f"nothing is known of the time {at}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--namespace", default="mlops", help="the platform's name")
    parser.add_argument("--expected", default="", help="workloads that declare metrics, comma-separated")
    parser.add_argument("--model", default="", help="a model that takes a row of nine numbers")
    parser.add_argument("--at", default="", help="a time in seconds since 1970 that must be remembered")
    options = parser.parse_args()

    pages = Pages(from_arguments(options), os.environ["PROMETHEUS_ADMIN_PASSWORD"])
    if options.at:
        return checks.run([("series outlive a restart", lambda: remembers(pages, options.at))])
    expected = [name for name in options.expected.split(",") if name]
    asked: list[tuple[str, Callable[[], object]]] = [
        ("nothing without a login", lambda: only_with_a_login(pages)),
        ("its pages are whole", lambda: pages_are_whole(pages)),
        (f"{len(expected)} workloads are scraped", lambda: everything_is_scraped(pages, expected)),
        ("rules are evaluated", lambda: rules_are_evaluated(pages)),
    ]
    if options.model:
        asked.append(
            ("predictions are counted", lambda: predictions_are_counted(pages, options.namespace, options.model))
        )
    return checks.run(asked)


if __name__ == "__main__":
    sys.exit(main())
