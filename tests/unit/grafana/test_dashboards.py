# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The dashboards: whole, in order, and about nothing that the platform doesn't know."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
for folder in (".collections", "runtime/src", "tests/conformance", "tests/unit/grafana"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

import dashboards  # noqa: E402
import promql  # noqa: E402
from ansible_collections.mlops.onprem.plugins.filter.grafana import grafana_dashboard  # noqa: E402
from mlops_runtime.agent import metrics as agent_metrics  # noqa: E402
from mlops_runtime.contracts import metrics as contract  # noqa: E402
from prometheus_client.metrics import MetricWrapperBase  # noqa: E402

BOARDS = dashboards.boards()
QUERIES = dashboards.queries()
HISTOGRAMS = {contract.SERVER_REQUESTS_SECONDS, contract.CLIENT_REQUESTS_SECONDS}
#: What isn't ours, as scraped: Traefik 3, SeaweedFS 4, Prometheus, and the clients' libraries (of Python, Go, Java).
OTHERS = {
    "ALERTS",
    "up",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "prometheus_tsdb_head_series",
    "traefik_entrypoint_requests_total",
    "traefik_entrypoint_request_duration_seconds_bucket",
    "traefik_open_connections",
    "traefik_service_requests_total",
    "SeaweedFS_s3_request_total",
    "SeaweedFS_volumeServer_total_disk_size",
}
#: Names that the platform gives by no other means than these places.
LABELS = {"set", "workload", "node", "model", "version", "role", "detector", "feature", "outcome", "code", "le", "type"}
LABELS |= {"entrypoint", "service", "route", "topic", "request", "quantile", "collection", "metric", "reason", "kind"}
LABELS |= {"stage", "state", "decision", "system", "alertstate"}


def counters() -> set[str]:
    """Names in the contract of what is counted, by how the runtime makes it."""
    sources = "".join(path.read_text() for path in (ROOT / "runtime/src/mlops_runtime").rglob("metrics.py"))
    made = set(re.findall(r"Counter(?:MetricFamily)?\(\s*metrics\.([A-Z_]+)", sources))
    # The model server counts by names alone.
    return made | {"RECORDS", "LABELS", "FEEDBACK", "FEEDBACK_REWARD"}


def contract_metrics() -> Iterator[str]:
    """As they are scraped: counters end in _total, histograms are three; gauges are as they are called."""
    counted = counters()
    assert len(counted) > 10
    for name, value in vars(contract).items():
        if not name.isupper() or not isinstance(value, str):
            continue
        if value in HISTOGRAMS:
            yield from (f"{value}_{part}" for part in ("bucket", "sum", "count"))
        else:
            yield f"{value}_total" if name in counted else value


def agents_metrics() -> Iterator[str]:
    for value in vars(agent_metrics).values():
        if isinstance(value, MetricWrapperBase):
            yield from (sample.name for family in value.collect() for sample in family.samples)
            # One with labels has no samples before it was used.
            [family] = value.describe()
            yield {"counter": f"{family.name}_total", "histogram": f"{family.name}_count"}.get(family.type, family.name)


def kafkas_metrics() -> Iterator[str]:
    """Patterns of its rules, filled with the names that it is asked for."""
    table = yaml.safe_load((ROOT / "images/kafka/metrics.yml").read_text())
    kinds = [match[1] for name in table["includeObjectNames"] if (match := re.search(r"\bname=(\w+)", name))]
    kinds += ["connection-count", "failed-authentication-total"]
    for rule in table["rules"]:
        if "$" not in rule["name"]:
            yield rule["name"]
        else:
            for kind in kinds:
                name = re.sub(r"\$\d", kind.removesuffix("PerSec"), rule["name"])
                yield re.sub(r"[^a-z0-9_]", "_", name.lower())


def recorded() -> Iterator[str]:
    rules = yaml.safe_load((ROOT / "roles/prometheus/files/recording.yml").read_text())
    yield from (rule["record"] for group in rules["groups"] for rule in group["rules"])


KNOWN = {*contract_metrics(), *agents_metrics(), *kafkas_metrics(), *recorded(), *OTHERS}


def each(value: Any, key: str) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, one in value.items():
            if name == key:
                yield one
            yield from each(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from each(one, key)


def test_there_are_those_that_the_role_brings() -> None:
    role = yaml.safe_load((ROOT / "roles/grafana/vars/main.yml").read_text())
    assert set(BOARDS) == set(role["__grafana_boards"])
    assert [board["uid"] for board in BOARDS.values()] == [f"mlops-{name}" for name in BOARDS]


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_whole(name: str) -> None:
    board = BOARDS[name]
    assert board["schemaVersion"] == 42 and board["tags"] == ["mlops"] and board["title"] and board["description"]
    assert "id" not in board and "version" not in board and board["editable"] is False
    shown = list(dashboards.panels(board))
    identities = [panel["id"] for panel in board["panels"]]
    assert len(identities) == len(set(identities)) and len({panel["title"] for panel in shown}) == len(shown)
    for panel in shown:
        assert panel["description"].endswith("."), panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert refs == sorted(set(refs)) and all(
            target["datasource"] == panel["datasource"] for target in panel["targets"]
        )
        assert panel["type"] == "table" or panel["fieldConfig"]["defaults"].get("unit") or "timeline" in panel["type"]
    assert {one["uid"] for one in each(board, "datasource")} <= {"mlops-metrics", "mlops-ledger", "-- Grafana --"}


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_side_by_side(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not taken & cells, panel["title"]
        taken |= cells


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_variables_are_declared(query: dashboards.Query) -> None:
    declared = {one["name"] for one in BOARDS[query.board]["templating"]["list"]}
    used = {first or second for first, second in re.findall(r"\$(?:([A-Za-z_]\w*)|\{(\w+)[^}]*\})", query.text)}
    macros = (
        {"__timeFilter", "__timeFrom", "__timeTo"}
        if query.kind == dashboards.LEDGER
        else {"__rate_interval", "__range"}
    )
    assert used <= declared | macros
    assert "$" not in dashboards.promql(query, "m") if query.kind == dashboards.METRICS else True


@pytest.mark.parametrize(
    "query", [one for one in QUERIES if one.kind == dashboards.METRICS], ids=lambda query: query.name
)
def test_metrics_are_known(query: dashboards.Query) -> None:
    found = promql.names(dashboards.promql(query, "m"))
    assert found.metrics and found.metrics <= KNOWN, found.metrics - KNOWN
    assert {label for labels in found.selected.values() for label in labels} | found.grouped <= LABELS
    # What the legend names is what the expression keeps.
    legend = set(re.findall(r"\{\{(\w+)\}\}", query.target["legendFormat"]))
    assert legend <= found.grouped or not found.grouped


@pytest.mark.parametrize("name", BOARDS)
def test_variables_ask_for_what_is_known(name: str) -> None:
    for one in BOARDS[name]["templating"]["list"]:
        match = re.fullmatch(r"label_values\((.+), (model|version)\)", one["definition"])
        assert match and one["query"]["query"] == one["definition"] and match[2] == one["name"]
        assert promql.names(match[1].replace("$model", "m")).metrics <= KNOWN


def test_names_in_an_expression() -> None:
    found = promql.names(
        'sum by (a, b) (rate(x:y_total{c="}",d!~"e|f"}[5m])) / on (g) group_left clamp_min(z, 1e3) or vector(0)'
    )
    assert found.metrics == {"x:y_total", "z"} and found.functions == {"sum", "rate", "clamp_min", "vector"}
    assert found.grouped == {"a", "b", "g"} and found.selected == {"x:y_total": {"c", "d"}, "z": set()}
    with pytest.raises(ValueError, match="can't be read"):
        promql.names("up # a comment")


def test_another_platform_s_name() -> None:
    text = (dashboards.FOLDER / "loop.json").read_text()
    here, there = grafana_dashboard(text, "mlops"), grafana_dashboard(text, "second")
    assert here == BOARDS["loop"]
    assert there["uid"] == "second-loop" and there["tags"] == ["mlops"]
    assert {one["uid"] for one in each(there, "datasource")} == {"second-metrics", "second-ledger", "-- Grafana --"}


def test_without_the_ledger() -> None:
    bare = grafana_dashboard((dashboards.FOLDER / "loop.json").read_text(), "mlops", False)
    assert "ledger" not in str([one["uid"] for one in each(bare, "datasource")])
    assert bare["panels"][-1]["type"] != "row"
    rows = [panel["title"] for panel in bare["panels"] if panel["type"] == "row"]
    assert "From the ledger" not in rows and rows == ["Now", "Stages", "What was done"]
