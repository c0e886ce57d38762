# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Every panel of the dashboards that this platform has shows something, with the example's model for the variable.

Where Grafana is installed it is asked, else Prometheus itself: then the ledger's panels are left out
(tests/integration/grafana_dashboards has them).
"""

from __future__ import annotations

import base64
import time
import urllib.parse
from typing import Any

import dashboards
import pytest
import yaml
from installed import MODEL, ROOT, Platform, wait_for

NEEDS = yaml.safe_load((ROOT / "roles/grafana/vars/main.yml").read_text())["__grafana_boards"]
PATIENCE = 90
"""Seconds for predictions to be scraped, recorded and scored."""
SPAN, STEP = 900, 15

LABELS = "labels have to arrive"
FLUSH = "the archive stores its first rows after minutes"
LOOP = "an episode has to open"
#: Panels that are empty until something has happened, and what.
EVENTS = {
    ("platform", "Sets applied"): "a client of the agent has to apply a set",
    ("model-serving", "Labels"): LABELS,
    ("model-drift", "Measures"): LABELS,
    ("model-drift", "Labels"): LABELS,
    ("model-drift", "Dead letters"): "a message has to be unreadable",
    ("model-drift", "Rows stored"): FLUSH,
    ("model-drift", "Age of what isn't stored"): FLUSH,
    ("loop", "The newest loop"): LOOP,
    ("loop", "The newest loop's stages"): LOOP,
    ("loop", "Episodes by state"): LOOP,
    ("loop", "Decisions"): LOOP,
    ("loop", "Newest decisions"): LOOP,
    ("loop", "Episodes and their runs"): LOOP,
    ("loop", "Seconds of each loop, by stage"): LOOP,
    ("loop", "Runs"): LOOP,
    ("loop", "What didn't answer"): "something that the controller needs has to be away",
    ("loop", "Alerts that were refused"): "an alert has to be about no known model",
}


class Prometheus:
    """Behind the gateway, as its administrator."""

    def __init__(self, platform: Platform) -> None:
        self._gateway = platform.gateway
        login = f"admin:{platform.secrets['secrets.prometheus_admin_password']}"
        self._headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}

    def api(self, path: str, **parameters: Any) -> Any:
        where = f"/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        answer = self._gateway.request(where, subdomain="prometheus", headers=self._headers)
        assert answer.status == 200, f"{answer.status}: {answer.text()}"
        return answer.json()["data"]

    def rows(self, expression: str, instant: bool) -> int:
        """How many samples an expression has."""
        if instant:
            return len(self.api("query", query=expression)["result"])
        now = time.time()
        found = self.api("query_range", query=expression, start=now - SPAN, end=now, step=STEP)["result"]
        return sum(len(series["values"]) for series in found)


@pytest.fixture(scope="module")
def prometheus(platform: Platform) -> Prometheus:
    """After the model was asked something, and that has come through."""
    if "prometheus" not in platform.facts["components"]:
        pytest.skip("Prometheus is not among the platform's components")
    found = Prometheus(platform)
    selector = f'{{model="{MODEL}"}}'

    def counted() -> bool:
        platform.predict()
        return all(
            found.rows(f"{name}{selector} >= 0", True)
            for name in ("model:requests:rate1m", "model:request_seconds:p95_rate5m")
        )

    wait_for(counted, seconds=PATIENCE, what="predictions of the example's model are counted")
    if "drift_detector" in platform.facts["components"]:
        scored = f'mlops_drift_rows_total{{model="{MODEL}",outcome="scored"}} > 0'
        wait_for(lambda: found.rows(scored, True), seconds=PATIENCE, what="its predictions are scored")
        wait_for(lambda: found.rows(f"rate({scored.removesuffix(' > 0')}[1m])", True), seconds=PATIENCE, what="twice")
    return found


@pytest.mark.parametrize("query", dashboards.queries(), ids=lambda query: query.name)
def test_a_panel_shows_something(platform: Platform, prometheus: Prometheus, query: dashboards.Query) -> None:
    components = platform.facts["components"]
    if NEEDS[query.board] not in components:
        pytest.skip(f"{NEEDS[query.board]} is not among the platform's components")
    if "kafka" not in components and "kafka_" in query.text:
        pytest.skip("kafka is not among the platform's components")
    if "grafana" in components and platform.secrets.get("secrets.grafana_admin_password"):
        pages = dashboards.Pages(platform.gateway, platform.secrets["secrets.grafana_admin_password"])
        problem, rows = pages.frames(query, platform.name, MODEL)
        assert not problem, problem
    elif query.kind == dashboards.METRICS:
        rows = prometheus.rows(dashboards.promql(query, MODEL), query.instant)
    else:
        pytest.skip("without Grafana nobody is there who may ask the ledger")
    why = EVENTS.get((query.board, query.panel))
    if not rows and why:
        pytest.skip(f"no data yet: {why}")
    assert rows, dashboards.promql(query, MODEL) if query.kind == dashboards.METRICS else query.text


@pytest.mark.parametrize("board", ["model-serving", "model-drift", "loop"])
def test_the_model_can_be_chosen(platform: Platform, prometheus: Prometheus, board: str) -> None:
    if NEEDS[board] not in platform.facts["components"]:
        pytest.skip(f"{NEEDS[board]} is not among the platform's components")
    for variable in dashboards.boards()[board]["templating"]["list"]:
        selector, label = variable["definition"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        chosen = selector.replace("$model", MODEL)
        values = prometheus.api(f"label/{label}/values", **{"match[]": chosen})
        assert values and (label != "model" or MODEL in values), chosen


def test_events_are_of_panels_that_there_are() -> None:
    assert set(EVENTS) <= {(query.board, query.panel) for query in dashboards.queries()}
