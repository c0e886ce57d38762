# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The panels that ask the ledger, at a real one with something in it, as the user that Grafana has."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import dashboards
import pytest
from ledger_job import LEDGER, READER, ROOT, Job
from postgresql import Postgresql

SCHEMA = ROOT / "runtime/src/mlops_runtime/lifecycle/ledger/schema"
QUERIES = [query for query in dashboards.queries() if query.kind == dashboards.LEDGER]
BEGIN, END = "2026-03-01T00:00:00Z", "2026-03-01T06:00:00Z"
EPISODE = "6f1f4d1e-0000-4000-8000-000000000001"
#: A champion, another one after an episode, a shadow that went, and one of a model that isn't asked for.
ROWS = f"""
INSERT INTO served (model, role, version, since, until, reason) VALUES
  ('phishing', 'champion', '1', '2026-02-01Z', '2026-03-01 03:00Z', 'first'),
  ('phishing', 'champion', '2', '2026-03-01 03:00Z', NULL, 'promoted'),
  ('phishing', 'shadow', '2', '2026-03-01 01:00Z', '2026-03-01 02:00Z', 'tried'),
  ('landcover', 'champion', '7', '2026-03-01 01:00Z', NULL, 'first');
INSERT INTO episodes (id, model, version, state, cause, reason, began_at, opened_at, closed_at) VALUES
  ('{EPISODE}', 'phishing', '1', 'accepted', 'drift', 'started',
   '2026-03-01 02:00Z', '2026-03-01 02:00Z', '2026-03-01 03:05Z');
INSERT INTO runs (episode, model, version, state, flow_run_name, began_at, ended_at) VALUES
  ('{EPISODE}', 'phishing', '1', 'completed', 'brave-otter', '2026-03-01 02:01Z', '2026-03-01 02:02:30Z');
INSERT INTO stages (episode, stage, seconds) VALUES ('{EPISODE}', 'alert', 10), ('{EPISODE}', 'train', 90);
INSERT INTO decisions (at, model, version, decision, reason) VALUES
  ('2026-03-01 02:00Z', 'phishing', '1', 'accepted', 'drift');
INSERT INTO refusals (kind, detail, times) VALUES ('alert', 'unknown model', 3);
"""
TABLES = re.compile(r"\b(?:FROM|JOIN)\s+([a-z_]+)", re.IGNORECASE)

Ask = Callable[[dashboards.Query, str], list[list[str]]]


@pytest.fixture(scope="module")
def ask(postgresql: Postgresql, job: Job) -> Ask:
    made = job.run()
    assert made.returncode == 0, made.stderr
    # Tables that come later are its to read, too.
    for step in sorted(SCHEMA.glob("*.sql")):
        postgresql.query(step.read_text(), "lifecycle", "lifecycle", LEDGER)
    postgresql.query(ROWS, "lifecycle", "lifecycle", LEDGER)
    again = job.run()
    assert again.returncode == 0, again.stderr

    def call(query: dashboards.Query, model: str) -> list[list[str]]:
        text = dashboards.sql(query, model, BEGIN, END)
        found = postgresql.query(text, "lifecycle", "grafana_ledger", READER)
        return [line.split("|") for line in found.splitlines()]

    return call


def named(title: str) -> dashboards.Query:
    return next(query for query in QUERIES if query.panel == title)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.panel)
def test_each_is_answered(ask: Ask, query: dashboards.Query) -> None:
    assert ask(query, "phishing")
    # No model at all, as where none serves.
    dashboards_without = ask(query, "")
    assert dashboards_without == [] or query.panel == "Alerts that were refused"


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.panel)
def test_each_asks_only_the_ledger(query: dashboards.Query) -> None:
    tables = set(re.findall(r"CREATE TABLE (\w+)", "".join(path.read_text() for path in SCHEMA.glob("*.sql"))))
    asked = set(TABLES.findall(query.text)) - {"r", "e"}  # extract(epoch FROM r.ended_at ...)
    assert asked and asked <= tables


def test_what_served_when(ask: Ask) -> None:
    rows = {(metric, value): time for time, metric, value in ask(named("What served when"), "phishing")}
    assert {key: time[11:16] for key, time in rows.items()} == {
        ("phishing champion", "1"): "00:00",
        ("phishing champion", "2"): "03:00",
        ("phishing shadow", "2"): "01:00",
        # Nobody follows: from then on it is nothing.
        ("phishing shadow", "-1"): "02:00",
    }


def test_several_models_at_once(ask: Ask, postgresql: Postgresql) -> None:
    query = named("Served")
    text = dashboards.sql(query, "", BEGIN, END).replace("^()$", "^((phishing|landcover))$")
    found = postgresql.query(text, "lifecycle", "grafana_ledger", READER)
    assert {line.split("|")[0] for line in found.splitlines()} == {"phishing", "landcover"}


def test_an_episode_with_its_run(ask: Ask) -> None:
    [row] = ask(named("Episodes and their runs"), "phishing")
    assert row[2:4] == ["phishing", "1"] and row[-3:-1] == ["completed", "brave-otter"] and float(row[-1]) == 90
    stages = ask(named("Seconds of each loop, by stage"), "phishing")
    assert {(row[1], float(row[2])) for row in stages} == {("alert", 10.0), ("train", 90.0)}


def test_the_reader_only_reads(ask: Ask, postgresql: Postgresql) -> None:
    for statement in ("DELETE FROM served", "INSERT INTO refusals VALUES ('a', 'b', 1)", "CREATE TABLE mine (x int)"):
        with pytest.raises(AssertionError, match="permission denied"):
            postgresql.query(statement, "lifecycle", "grafana_ledger", READER)
    assert postgresql.query("SELECT count(*) FROM served", "lifecycle", "grafana_ledger", READER) == "4"


def test_users_that_the_site_made(ask: Ask, job: Job, postgresql: Postgresql, tmp_path: Path) -> None:
    """Without an administrator, the owner gives the reader its rights."""
    postgresql.query("REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM grafana_ledger", "lifecycle")
    with pytest.raises(AssertionError, match="permission denied"):
        postgresql.query("SELECT * FROM served", "lifecycle", "grafana_ledger", READER)
    done = job.run(MLOPS_DATABASE_ADMIN="")
    assert done.returncode == 0, done.stderr
    assert postgresql.query("SELECT count(*) FROM served", "lifecycle", "grafana_ledger", READER) == "4"
