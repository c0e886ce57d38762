# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Uses the lifecycle controller through the gateway: who has no login gets nothing, alerts are taken from who may send
them, and the ledger says what became of them. With --model, an alias that is moved is followed, and back, while the
model answers every request.

Passwords come in LIFECYCLE_ADMIN_PASSWORD, LIFECYCLE_ALERTS_PASSWORD and, with --model, MLFLOW_ADMIN_PASSWORD.
Ends with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from checks import equal, eventually, run
from gateway_client import Answer, Gateway, add_arguments, from_arguments
from predictions import EXAMPLE, Rest, read_rows

SUBDOMAIN = "lifecycle"
PATIENCE = 300
"""Seconds for serving to follow an alias."""
CHAMPION = "champion"
NEVER = "999999"
"""A version that no model of a test has."""


class Site:
    """The controller and the registry behind the gateway."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        self.gateway = gateway
        self.token = token

    def ask(self, path: str, user: str = "admin", *, body: Any = None) -> Answer:
        """GET, or POST with a body."""
        login = {"": "", "admin": "LIFECYCLE_ADMIN_PASSWORD", "prometheus": "LIFECYCLE_ALERTS_PASSWORD"}[user]
        return self._request(SUBDOMAIN, path, user, login, body)

    def get(self, path: str) -> dict[str, Any]:
        answer = self.ask(path)
        equal(answer.status, 200, f"{path}: {answer.text()}")
        return dict(answer.json())

    def registry(self, path: str, body: Any = None, method: str = "") -> dict[str, Any]:
        path = f"/api/2.0/mlflow/{path}"
        answer = self._request("mlflow", path, "admin", "MLFLOW_ADMIN_PASSWORD", body, method)
        equal(answer.status, 200, f"{path}: {answer.text()}")
        return dict(answer.json())

    def _request(self, subdomain: str, path: str, user: str, login: str, body: Any, method: str = "") -> Answer:
        headers = {"Content-Type": "application/json"}
        if user:
            pair = f"{user}:{os.environ[login]}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        method = method or ("GET" if body is None else "POST")
        given = None if body is None else json.dumps(body)
        return self.gateway.request(path, subdomain=subdomain, method=method, headers=headers, body=given)

    def model(self, name: str) -> dict[str, Any]:
        return next(item for item in self.get("/v1/models")["models"] if item["model"] == name)

    def alert(self, model: str, *, firing: bool = True) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "labels": {"alertname": "Verify", "purpose": "retraining", "model": model, "version": NEVER}
            | {"token": self.token},
            "annotations": {"summary": "verification"},
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": (now.replace(year=now.year + 1) if firing else now).isoformat(),
        }


def only_with_a_login(site: Site) -> None:
    for path in ("/", "/v1/models", "/v1/episodes", "/v1/decisions", "/v1/served", "/v1/refusals"):
        equal(site.ask(path, "").status, 401, path)
        equal(site.ask(path).status, 200, path)
    equal(site.ask("/api/v2/alerts", "", body=[]).status, 401, "alerts without a login")
    equal(site.ask("/v1/models", "prometheus").status, 403, "who sends alerts reads")
    equal(site.ask("/api/v2/alerts", body=[]).status, 403, "who reads sends alerts")


def nothing_of_the_inside_is_shown(site: Site) -> None:
    for path in ("/metrics", "/health/live", "/health/ready"):
        equal(site.ask(path).status, 404, path)


def the_page_is_whole(site: Site) -> None:
    answer = site.ask("/")
    if "text/html" not in answer.headers.get("content-type", answer.headers.get("Content-Type", "")):
        raise AssertionError(f"the page is {answer.headers}")
    if "</html>" not in answer.body.decode():
        raise AssertionError("the page has no end")


def a_stranger_is_refused_and_counted(site: Site) -> None:
    name = f"nobody-{site.token}"
    taken = site.ask("/api/v2/alerts", "prometheus", body=[site.alert(name)])
    equal(taken.status, 200, taken.text())
    equal([item["outcome"] for item in taken.json()["alerts"]], ["refused"])

    def complaint() -> str:
        told = [item["detail"] for item in site.get("/v1/refusals")["refusals"]]
        return "" if any(name in detail for detail in told) else f"{name} is not among the refusals"

    eventually(complaint, 60)


def an_alert_is_in_the_ledger(site: Site, model: str) -> None:
    for firing, outcome in ((True, "opened"), (True, "continued"), (False, "resolved")):
        taken = site.ask("/api/v2/alerts", "prometheus", body=[site.alert(model, firing=firing)])
        equal(taken.status, 200, taken.text())
        [told] = taken.json()["alerts"]
        equal(told["outcome"], outcome, told)
    episode = site.get(f"/v1/episodes/{told['episode']}")
    equal((episode["state"], episode["run"]), ("held", None), episode["reason"])


@contextmanager
def asking(site: Site, namespace: str, model: str) -> Iterator[Callable[[], tuple[int, list[str]]]]:
    """Asks the model for predictions all the while; how many there were, and those that failed."""
    names, rows = read_rows(EXAMPLE / "build/test.csv", "is_phishing")
    rest, stop = Rest(site.gateway, namespace, model, names), threading.Event()
    asked, failed = 0, list[str]()

    def ask() -> None:
        nonlocal asked
        while not stop.wait(0.02):
            asked += 1
            try:
                rest.ndarray(rows[:1])
            except (AssertionError, OSError) as error:
                failed.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield lambda: (asked, failed)
    finally:
        stop.set()
        thread.join()


def an_alias_is_followed(site: Site, namespace: str, model: str) -> None:
    about = urllib.parse.urlencode({"name": model, "alias": CHAMPION})
    old = site.registry(f"registered-models/alias?{about}")["model_version"]
    copy = {key: old[key] for key in ("name", "source", "run_id", "tags") if old.get(key)}
    # Of a logged model the source says which one it is.
    logged = old["source"].removeprefix("models:/")
    copy |= {"model_id": logged} if logged.startswith("m-") else {}
    new = site.registry("model-versions/create", copy)["model_version"]

    def move(version: str) -> None:
        site.registry("registered-models/alias", {"name": model, "alias": CHAMPION, "version": version})

        def complaint() -> str:
            found = site.model(model)
            there = found["serves"].get(CHAMPION) == version and found["followed"]
            return "" if there else f"version {version} doesn't serve yet: {found}"

        eventually(complaint, PATIENCE)

    with asking(site, namespace, model) as count:
        try:
            move(new["version"])
            before = count()[0]
            eventually(lambda: "" if count()[0] >= before + 10 else "no ten requests more", 60)
        finally:
            move(old["version"])
            site.registry("model-versions/delete", {"name": model, "version": new["version"]}, "DELETE")
        asked, failed = count()
    if failed:
        raise AssertionError(f"{len(failed)} of {asked} requests failed, first: {failed[0]}")
    served = [item["version"] for item in site.get(f"/v1/served?model={model}")["served"] if item["role"] == CHAMPION]
    equal(served[:2], [old["version"], new["version"]], "the ledger's newest")
    print(f"        {asked} requests, none failed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--token", required=True, help="what marks this run")
    parser.add_argument("--namespace", default="mlops", help="the platform's name")
    parser.add_argument("--model", default="", help="one that is served")
    options = parser.parse_args()
    site, name, model = Site(from_arguments(options), options.token), options.namespace, options.model
    checks: list[tuple[str, Callable[[], object]]] = [
        ("nobody gets in without a login, nor does what he may not", lambda: only_with_a_login(site)),
        ("probes and metrics are not for the gateway", lambda: nothing_of_the_inside_is_shown(site)),
        ("its page is whole", lambda: the_page_is_whole(site)),
        ("an alert about nobody is refused and counted", lambda: a_stranger_is_refused_and_counted(site)),
    ]
    if model:
        checks += [
            ("an alert is in the ledger, and what became of it", lambda: an_alert_is_in_the_ledger(site, model)),
            ("serving follows an alias without a lost request", lambda: an_alias_is_followed(site, name, model)),
        ]
    return run(checks)


if __name__ == "__main__":
    sys.exit(main())
