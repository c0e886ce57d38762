# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Uses Prefect through the gateway as people do: who has no login gets nothing; its pages are whole and know the public
address; a run of a tiny flow in the platform's own work pool completes.

The login, `user:password`, comes in PREFECT_AUTH_STRING. `--begin SECONDS` starts a run of that length, waits until it
is under way and leaves it alone; `--finish` waits until it has completed, and removes what bears the name --token.
Ends with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
import sys
import urllib.parse
from collections.abc import Callable, Set
from typing import Any

from checks import equal, eventually, run
from gateway_client import Answer, Gateway, add_arguments, from_arguments

SUBDOMAIN = "prefect"
PATIENCE = 300
"""Seconds for a run to begin, or to end after its own time."""
UNDER_WAY = frozenset({"RUNNING", "COMPLETED"})
FLOW = """
import time
from prefect import flow, get_run_logger

@flow
def verify(seconds: int):
    for number in range(seconds):
        get_run_logger().info("second %d", number)
        time.sleep(1)
"""


class BusyError(AssertionError):
    """The gateway has nobody who is ready just now."""


class Pipelines:
    """Prefect behind the gateway, with a login or as nobody, and what the checks make there."""

    def __init__(self, gateway: Gateway, login: str, token: str = "", pool: str = "") -> None:
        self.gateway = gateway
        self.token = token
        self.pool = pool
        encoded = base64.b64encode(login.encode()).decode()
        self._headers = {"Authorization": f"Basic {encoded}"} if login else {}

    def get(self, path: str) -> Answer:
        return self.gateway.request(path, subdomain=SUBDOMAIN, headers=self._headers)

    def api(self, method: str, path: str, content: Any = None) -> Any:
        headers = {**self._headers, "Content-Type": "application/json"}
        body = None if content is None else json.dumps(content)
        answer = self.gateway.request(f"/api{path}", subdomain=SUBDOMAIN, method=method, headers=headers, body=body)
        if answer.status in (502, 503, 504):
            raise BusyError(f"{method} {path}: {answer.status} {answer.text()}")
        if answer.status >= 400:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.text()}")
        return answer.json() if answer.body else None

    # what it must do

    def only_with_a_login(self) -> None:
        for path in ("/api/admin/version", "/api/admin/settings", "/api/flows/count", "/api/metrics"):
            equal(Pipelines(self.gateway, "").get(path).status, 401, path)
            equal(Pipelines(self.gateway, "admin:wrong").get(path).status, 401, f"{path} with a wrong password")
        equal(Pipelines(self.gateway, "").get("/api/health").status, 200, "/api/health")

    def answers(self) -> None:
        equal(self.get("/api/ready").status, 200, "/api/ready")
        version = str(self.api("GET", "/admin/version"))
        if not version.startswith("3."):
            raise AssertionError(f"version {version}")

    def pages_are_whole(self) -> None:
        """The page, each file that it names, and the address that it takes for the API's."""
        page = self.get("/v2/")
        equal(page.status, 200, "/v2/")
        files = re.findall(r'(?:src|href)="(/v2/[^"]*)"', page.body.decode())
        if not any(file.endswith(".js") for file in files):
            raise AssertionError("the page names no script")
        for file in files:
            answer = self.get(file)
            if answer.status != 200 or not answer.body:
                raise AssertionError(f"{file}: {answer.status}, {len(answer.body)} bytes")
        settings = self.get("/ui-settings").json()
        address = urllib.parse.urlsplit(settings["api_url"])
        equal((address.hostname, address.path), (self.gateway.host(SUBDOMAIN), "/api"), "is the API's address")
        equal(settings["auth"], "BASIC")

    def a_run_completes(self) -> None:
        try:
            self.begin(0)
            self.finish(0)
        finally:
            self.remove()

    # a run

    def begin(self, seconds: int, until: Set[str] = UNDER_WAY, **job_variables: Any) -> None:
        """Starts a run; returns when its state is one of these."""
        flow = self.api("POST", "/flows/", {"name": self.token})["id"]
        code = f"import base64; open('verify_flow.py', 'wb').write(base64.b64decode('{encoded(FLOW)}'))"
        deployment = {
            "name": self.token,
            "flow_id": flow,
            "work_pool_name": self.pool,
            "job_variables": job_variables,
            "entrypoint": "verify_flow.py:verify",
            "pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": f'python3 -c "{code}"'}}],
        }
        made = self.api("POST", "/deployments/", deployment)["id"]
        wanted = {"idempotency_key": self.token, "parameters": {"seconds": seconds}, "state": {"type": "SCHEDULED"}}
        self.api("POST", f"/deployments/{made}/create_flow_run", wanted)
        self.wait_for(until, PATIENCE)

    def finish(self, seconds: int) -> None:
        self.wait_for({"COMPLETED"}, PATIENCE + seconds)

    def wait_for(self, states: Set[str], patience: float) -> float:
        """Seconds until its state is one of these; any other at which a run ends raises."""

        def complaint() -> str:
            try:
                found = self.run()
            except BusyError as busy:
                return str(busy)
            state = found["state"]
            if state["type"] in states:
                return ""
            said = f"the run is {state['type']} {state.get('message') or ''}: {self.logs(found['id'])}"
            if state["type"] in ("FAILED", "CRASHED", "CANCELLED"):
                raise AssertionError(said)
            return said

        return eventually(complaint, patience)

    def run(self) -> Any:
        [found] = self.api("POST", "/flow_runs/filter", {"flows": {"name": {"any_": [self.token]}}})
        return found

    def logs(self, run_id: str) -> str:
        """The last lines."""
        wanted = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_DESC", "limit": 20}
        return "\n".join(line["message"] for line in reversed(self.api("POST", "/logs/filter", wanted)))

    def remove(self) -> None:
        named = {"flows": {"name": {"any_": [self.token]}}}
        for kind in ("flow_runs", "deployments", "flows"):
            for one in self.api("POST", f"/{kind}/filter", named):
                self.api("DELETE", f"/{kind}/{one['id']}")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--token", default=f"verify-{secrets.token_hex(6)}", help="a name that nothing has")
    parser.add_argument("--pool", default="default", help="the work pool to run in; empty: nothing is run")
    parser.add_argument("--begin", type=int, default=0, metavar="SECONDS", help="only start a run of that length")
    parser.add_argument("--finish", action="store_true", help="only wait for that run, and remove what there is of it")
    options = parser.parse_args()

    pipelines = Pipelines(from_arguments(options), os.environ["PREFECT_AUTH_STRING"], options.token, options.pool)
    asked: list[tuple[str, Callable[[], object]]]
    if options.begin:
        return run([("a run is under way", lambda: pipelines.begin(options.begin))])
    if options.finish:
        try:
            return run([("the run has completed", lambda: pipelines.finish(0))])
        finally:
            pipelines.remove()
    asked = [
        ("nothing without a login", pipelines.only_with_a_login),
        ("who logs in is answered", pipelines.answers),
        ("its pages are whole", pipelines.pages_are_whole),
    ]
    if options.pool:
        asked.append((f"a run in the pool {options.pool} completes", pipelines.a_run_completes))
    return run(asked)


if __name__ == "__main__":
    sys.exit(main())
