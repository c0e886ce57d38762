# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a declaration's rules and actions say: slow answers without drift, and a run, word of it, or a question; a
retraining that has learnt nonsense; a version's run again; and a controller that is away for long.

MLOPS_TEST_AWAY: seconds for which it is away (60; 600 is the bar's).
"""

from __future__ import annotations

import os
import shutil
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from installed import EXAMPLE, Platform, Rest, read_rows
from test_loop import Asking, answered, champion, declared, send, served, told, until

AWAY = float(os.environ.get("MLOPS_TEST_AWAY", "60"))
MARK = f"{time.time():.0f}"
"""In the models' names: what an earlier run has left would be in the way."""
SLOW = 'histogram_quantile(0.5, sum by (le) (model:request_seconds:bucket_rate5m{{model="{name}"}}))'
ACTIONS = ("retrain", "notify", "ask")
DRIFTS = '"on": [{drift: true, for: 30s}]'
FITS = "model = fit(data.train, **parameters)"


def named(what: str) -> str:
    return f"phishing-{what}-{MARK}"


def copied(folder: Path, what: str, changes: Mapping[str, str] = {}) -> str:
    """The example's declaration under a name of its own, in a copy of the example: the path of it."""
    place = folder / what
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns("build", "__pycache__"))
    for file in ("loop.yml", "flows.py"):
        text = (place / file).read_text()
        for before, after in {**changes, "phishing-loop": named(what)}.items():
            text = text.replace(before, after)
        (place / file).write_text(text)
    return str(place / "loop.yml")


@pytest.fixture(scope="module")
def models(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("models")
    paths = []
    for action in ACTIONS:
        rule = f"\"on\": [{{promql: '{SLOW.format(name=named(action))}', above: 0.00001, for: 10s}}]"
        paths.append(copied(folder, action, {DRIFTS: f"action: {action}\n  {rule}"}))
    # It learns from labels that belong to other rows.
    shuffled = FITS.replace("data.train", "data.train.assign(**{TARGET: data.train[TARGET].sample(frac=1).to_numpy()})")
    paths.append(copied(folder, "shuffled", {FITS: shuffled}))
    paths.append(copied(folder, "away"))
    done = platform.playbook(*declared("model.yml", *paths))
    assert done.code == 0, done.end
    names = [named(what) for what in (*ACTIONS, "shuffled", "away")]
    until(lambda: {one["model"] for one in served(platform)} >= set(names), lambda: served(platform))
    try:
        yield
    finally:
        done = platform.playbook()
        assert done.code == 0, done.end


def episodes(platform: Platform, what: str) -> list[dict[str, Any]]:
    return list(told(platform, f"/v1/episodes?model={named(what)}")["episodes"])


def runs(platform: Platform, what: str) -> int:
    """How many Prefect has ever begun of the model."""
    of_the_model = {"flow_runs": {"tags": {"all_": [f"mlops.model:{named(what)}"]}}}
    return int(told(platform, "/api/flow_runs/count", of_the_model, "prefect"))


def ended(platform: Platform, what: str) -> list[dict[str, Any]]:
    return [one for one in episodes(platform, what) if one["run"] and one["run"]["state"] == "completed"]


def measured(platform: Platform, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers."""
    path = f"/api/v1/query?query={urllib.parse.quote(query)}"
    return list(told(platform, path, service="prometheus")["data"]["result"])


def test_slow_answers_without_drift(platform: Platform, models: None) -> None:
    """One run; none; and one after an approval."""
    for action in ACTIONS:
        # Before its first request: a rate is known from then on, and once is enough.
        until(
            lambda a=action: measured(platform, f'model:request_seconds:bucket_rate5m{{model="{named(a)}"}}'),
            lambda a=action: f"no rate of {named(a)}",
        )
        # Few: they are drawn from a small test set, and in the long run a detector tells that from the reference.
        send(platform, named(action), "--rows=200")
    until(lambda: all(episodes(platform, action) for action in ACTIONS), lambda: told(platform, "/v1/refusals"))
    until(lambda: ended(platform, "retrain"), lambda: episodes(platform, "retrain"))
    states = {action: [one["state"] for one in episodes(platform, action)] for action in ACTIONS}
    assert states == {"retrain": ["accepted"], "notify": ["notified"], "ask": ["asked"]}
    assert {action: runs(platform, action) for action in ACTIONS} == {"retrain": 1, "notify": 0, "ask": 0}
    [episode] = episodes(platform, "ask")
    told(platform, f"/v1/episodes/{episode['id']}/approve", {"reason": "it may"})
    until(lambda: ended(platform, "ask"), lambda: episodes(platform, "ask"))
    assert {action: runs(platform, action) for action in ACTIONS} == {"retrain": 1, "notify": 0, "ask": 1}
    drifted = measured(platform, f'max_over_time(mlops_drift_detected{{model="{named("retrain")}"}}[30m])')
    assert drifted and {one["value"][1] for one in drifted} == {"0"}, drifted


def test_shuffled_labels_are_refused(platform: Platform, models: None) -> None:
    send(platform, named("shuffled"), "--drifted")
    [episode] = until(lambda: ended(platform, "shuffled"), lambda: episodes(platform, "shuffled"))
    assert champion(platform, named("shuffled")) == {"named": "1", "serves": "1"}
    about = f"/api/2.0/mlflow/model-versions/get?name={named('shuffled')}&version=2"
    made = told(platform, about, service="mlflow")["model_version"]
    tags = {tag["key"]: tag["value"] for tag in made["tags"]}
    assert tags["mlops.gate"] == "lost" and tags["mlops.promotion"].startswith("refused"), tags
    assert "it made version 2: refused: version 2 hasn't won the gate: accuracy" in episode["run"]["reason"], episode
    decided = [one["reason"] for one in told(platform, f"/v1/decisions?model={named('shuffled')}")["decisions"]]
    assert any(episode["run"]["reason"] in reason for reason in decided), decided


def test_a_version_s_run_again(platform: Platform, models: None) -> None:
    name = named("retrain")
    deployment = told(platform, f"/api/deployments/name/retrain/retrain-{name}", service="prefect")["id"]
    given = {"parameters": {"model": name, "repeats": "2"}}
    run = told(platform, f"/api/deployments/{deployment}/create_flow_run", given, "prefect")["id"]

    def state() -> Any:
        return told(platform, f"/api/flow_runs/{run}", service="prefect")["state"]

    until(lambda: state()["type"] not in ("SCHEDULED", "PENDING", "RUNNING"), state)
    assert state()["type"] == "COMPLETED", state()
    path = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name=retraining-{name}"
    experiment = told(platform, path, service="mlflow")["experiment"]["experiment_id"]
    body = {"experiment_ids": [experiment], "filter": f"tags.`mlops.episode` = '{run}'"}
    [found] = told(platform, "/api/2.0/mlflow/runs/search", body, "mlflow")["runs"]
    tags = {tag["key"]: tag["value"] for tag in found["data"]["tags"]}
    assert (tags["mlops.outcome"], tags["mlops.repeats"]) == ("repeated", "2")


def test_the_controller_is_away(platform: Platform, models: None) -> None:
    """Serving goes on; when it is back it acts on what still stands, and once."""
    names, rows = read_rows(EXAMPLE / "build/test.csv", "is_phishing")
    asking = Asking(Rest(platform.gateway, platform.name, named("away"), names), rows)
    try:
        platform.site.scale("lifecycle", 0)
        try:
            send(platform, named("away"), "--drifted")
            time.sleep(AWAY)  # the time itself is what is tested
        finally:
            platform.site.scale("lifecycle", 1)
        back = time.monotonic()
        until(lambda: answered(lambda: ended(platform, "away")), lambda: "no run has ended")
        seconds = time.monotonic() - back
    finally:
        asking.end()
    assert asking.failed == [], f"{len(asking.failed)} of {asking.asked}: {asking.failed[0]}"
    assert (len(episodes(platform, "away")), runs(platform, "away")) == (1, 1)
    until(
        lambda: champion(platform, named("away")) == {"named": "2", "serves": "2"},
        lambda: champion(platform, named("away")),
    )
    print(
        f"BAR the controller away for {AWAY:.0f} s: {asking.asked} requests, none failed; it is back, and one run has "
        f"ended after {seconds:.0f} s"
    )
