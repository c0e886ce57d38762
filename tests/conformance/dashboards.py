# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The dashboards as files: what each panel asks, with values in the place of the variables.

As a script it asks Grafana through the gateway: who has no login gets nothing, its metrics are for the inside, the
dashboards are there, and no panel's query is refused. The password of `admin` comes in GRAFANA_ADMIN_PASSWORD. Ends
with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import checks
from gateway_client import Answer, Gateway, add_arguments, from_arguments

FOLDER = Path(__file__).resolve().parents[2] / "roles/grafana/files/dashboards"
OWN = "mlops"
"""The platform's name that the files have."""
METRICS, LEDGER = "prometheus", "grafana-postgresql-datasource"
HOURS = 6
PATIENCE = 60
"""Seconds for what was just installed to be asked."""


@dataclass(frozen=True)
class Query:
    """What one panel asks once."""

    board: str
    """The file's name without its ending."""
    panel: str
    """The panel's title, or what is before it for a variable."""
    ref: str
    kind: str
    """The type of the data source."""
    text: str
    instant: bool
    target: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.board}: {self.panel} {self.ref}"


def boards() -> dict[str, dict[str, Any]]:
    """The dashboards by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels that show something, those of folded rows too."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def queries() -> list[Query]:
    """All queries of all panels."""
    found = []
    for name, board in boards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                text, instant = target.get("expr") or target["rawSql"], bool(target.get("instant"))
                kind = target["datasource"]["type"]
                found.append(Query(name, panel["title"], target["refId"], kind, text, instant, target))
    return found


def filled(text: str, values: Mapping[str, str]) -> str:
    """A query with values for its variables: `$name`, `${name}`, `${name:format}`."""

    def value(match: re.Match[str]) -> str:
        return values[match["plain"] or match["braced"]]

    return re.sub(r"\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<braced>\w+)(?::\w+)?\})", value, text)


def promql(query: Query, model: str) -> str:
    """The expression as Grafana would send it."""
    times = {"__rate_interval": "1m", "__interval": "1m", "__range": f"{HOURS}h"}
    return filled(query.text, {"model": model, "version": ".*", **times})


def sql(query: Query, model: str, begin: str, end: str) -> str:
    """The statement as Grafana would send it. Times are of RFC 3339."""
    text = re.sub(r"\$__timeFilter\(([\w.]+)\)", rf"\1 BETWEEN '{begin}' AND '{end}'", query.text)
    text = text.replace("$__timeFrom()", f"'{begin}'").replace("$__timeTo()", f"'{end}'")
    return filled(text, {"model": re.escape(model)})


class Pages:
    """Grafana behind the gateway, as `admin` or as nobody."""

    def __init__(self, gateway: Gateway, password: str) -> None:
        self.gateway = gateway
        self._login = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()

    def ask(self, path: str, body: Any = None, login: bool = True) -> Answer:
        headers = {"Content-Type": "application/json", **({"Authorization": self._login} if login else {})}
        given, method = (None, "GET") if body is None else (json.dumps(body), "POST")
        return self.gateway.request(path, subdomain="grafana", method=method, headers=headers, body=given)

    def frames(self, query: Query, platform: str, model: str) -> tuple[str, int]:
        """What is wrong with a panel's query, and how many rows it answers with."""
        now = int(time.time())
        if query.kind == METRICS:
            asked = {"expr": promql(query, model), "instant": query.instant, "range": not query.instant}
            source = f"{platform}-metrics"
        else:
            begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (now - HOURS * 3600, now))
            asked = {"rawSql": sql(query, model, begin, end), "format": query.target["format"]}
            source = f"{platform}-ledger"
        target = {"refId": "A", "datasource": {"type": query.kind, "uid": source}, "intervalMs": 60000, **asked}
        body = {"from": str((now - HOURS * 3600) * 1000), "to": str(now * 1000), "queries": [target]}
        answer = self.ask("/api/ds/query", body)
        try:
            result = answer.json()["results"]["A"]
        except (ValueError, KeyError, TypeError):
            return f"{answer.status}: {answer.text()}", 0
        if result.get("error") or answer.status != 200:
            return str(result.get("error") or answer.status), 0
        rows = sum(len(values[0]) for frame in result.get("frames", []) if (values := frame["data"]["values"]))
        return "", rows


def only_with_a_login(pages: Pages) -> None:
    for path in ("/api/search", "/api/datasources", "/api/dashboards/uid/x", "/api/folders"):
        checks.equal(pages.ask(path, login=False).status, 401, path)
    checks.equal(Pages(pages.gateway, "wrong").ask("/api/datasources").status, 401, "with a wrong password")


def metrics_are_for_the_inside(pages: Pages) -> None:
    for path in ("/metrics", "/metrics/"):
        answer = pages.ask(path, login=False)
        if answer.status < 400 or b"grafana_build_info" in answer.body:
            raise AssertionError(f"{path} answers {answer.status}: {answer.text(100)}")


def dashboards_are_there(pages: Pages, platform: str, expected: list[str]) -> None:
    for name in expected:
        answer = pages.ask(f"/api/dashboards/uid/{platform}-{name}")
        checks.equal(answer.status, 200, f"{name}: {answer.text(200)}")
        held = answer.json()["dashboard"]
        checks.equal((held["title"], len(held["panels"])), (boards()[name]["title"], len(boards()[name]["panels"])))


def panels_are_answered(pages: Pages, platform: str, model: str, expected: list[str]) -> None:
    def complaint() -> str:
        found = ((one.name, pages.frames(one, platform, model)[0]) for one in queries() if one.board in expected)
        return "; ".join(f"{name}: {problem}" for name, problem in found if problem)

    checks.eventually(complaint, PATIENCE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--namespace", default=OWN, help="the platform's name")
    parser.add_argument("--expected", default="", help="dashboards by the names of their files, comma-separated")
    parser.add_argument("--model", default="none", help="a model that serves")
    options = parser.parse_args()
    pages = Pages(from_arguments(options), os.environ["GRAFANA_ADMIN_PASSWORD"])
    expected = [name for name in options.expected.split(",") if name]
    return checks.run(
        [
            ("nothing without a login", lambda: only_with_a_login(pages)),
            ("its metrics are for the inside", lambda: metrics_are_for_the_inside(pages)),
            (f"{len(expected)} dashboards are there", lambda: dashboards_are_there(pages, options.namespace, expected)),
            ("panels are answered", lambda: panels_are_answered(pages, options.namespace, options.model, expected)),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
