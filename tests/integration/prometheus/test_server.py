# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus with the role's configuration, told by the agent's own application what runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import prometheus as server
import pytest
from ansible_collections.mlops.onprem.plugins.filter.prometheus import prometheus_config, prometheus_web_config
from servers import OURS, python311, serving

ROOT = Path(__file__).resolve().parents[3]
PASSWORDS = {"admin": "the-administrators", "platform": "the-platforms"}
PREDICT = "/api/v1.0/predictions"


@pytest.fixture(scope="module")
def prometheus(site: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Prometheus]:
    """With the role's users and rules, at a quicker pace."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "password").write_text(PASSWORDS["platform"])
    configuration = prometheus_config(
        {
            "platform": "mlops",
            "agent": site.url,
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "evaluation_interval": "1s",
            "username": "platform",
            "password_file": str(folder / "password"),
            "sample_limit": 10000,
            "rule_files": [str(file) for file in sorted(ROOT.glob("roles/prometheus/files/*.yml"))],
        }
    )
    users = prometheus_web_config(PASSWORDS, "salt" * 8)
    found = server.Prometheus(folder, configuration, users=users, login=("platform", PASSWORDS["platform"]))
    # In its container it is alone at its port; here it isn't.
    configuration["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{found.port}"]
    found.start()
    try:
        yield found
    finally:
        found.stop()


def until(holds: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def test_nothing_is_told_without_a_login(prometheus: server.Prometheus) -> None:
    assert {path: prometheus.status(path, login=False) for path in ("/graph", "/metrics", "/api/v1/targets")} == {
        "/graph": 401,
        "/metrics": 401,
        "/api/v1/targets": 401,
    }
    assert prometheus.status("/graph") == 200


def test_it_scrapes_itself_and_the_agent(prometheus: server.Prometheus) -> None:
    prometheus.eventually('up{workload="prometheus",set="platform"} == 1')
    prometheus.eventually('up{workload="agent",set="platform",node="node1"} == 1')
    # What the agent says of other workloads keeps their names.
    prometheus.eventually('mlops_agent_tasks{workload="agent",set="platform"}')
    assert prometheus.query('{exported_workload!=""}') == []


@pytest.mark.skipif(python311() is None, reason="the model server needs Python 3.11, which is not here")
def test_a_model_is_scraped_as_soon_as_it_runs_and_forgotten_when_it_is_gone(
    prometheus: server.Prometheus, site: Any
) -> None:
    env = {"PREDICTIVE_UNIT_ID": "echo", "SELDON_DEPLOYMENT_ID": "echo", "MLOPS_MODEL_VERSION": "3"}
    with serving(OURS, "Doubling", env=env) as model:
        took: list[float] = []
        while len(took) < 3 and not any(seconds < 10 for seconds in took):  # the machine is shared
            site.forget("model-echo")
            until(lambda: not prometheus.query('up{workload="model-echo"}'), "a model that is gone is still asked")
            begun = time.monotonic()
            site.see("model-echo", model.metrics_port, path="/prometheus", model="echo", version="3", role="champion")
            until(lambda: prometheus.query('up{workload="model-echo"} == 1'), "the model isn't scraped")
            took.append(time.monotonic() - begun)
        assert min(took) < 10
        labels = prometheus.query('up{workload="model-echo"}')[0]["metric"]
        assert {"set": "models", "model": "echo", "version": "3", "role": "champion", "node": "node1"}.items() <= (
            labels.items()
        )

        def asked(expression: str) -> Any:
            status, _ = model.post(PREDICT, {"data": {"ndarray": [[1.0, 2.0]]}})
            assert status == 200
            return prometheus.query(expression)

        rate = until(lambda: asked('model:requests:rate1m{model="echo",version="3"} > 0'), "no rate of requests")
        assert float(rate[0]["value"][1]) > 0
        p99 = until(lambda: asked('model:request_seconds:p99_rate5m{model="echo",version="3"}'), "no quantile")
        assert 0 < float(p99[0]["value"][1]) < 10
        ratio = until(lambda: asked('model:request_errors:ratio_rate5m{model="echo",version="3"}'), "no error ratio")
        assert float(ratio[0]["value"][1]) == 0
    # It has died, and the cluster still means it to run: that is what the alert is for.
    until(lambda: prometheus.query('ALERTS{alertname="TargetDown",workload="model-echo"}'), "no alert of a dead model")
    site.forget("model-echo")
    until(lambda: not prometheus.query('up{workload="model-echo"}'), "a model that is gone is still asked")


def test_a_model_s_server_cannot_speak_for_another(prometheus: server.Prometheus, site: Any) -> None:
    """Another agent stands for a server whose series name other workloads."""
    site.see("model-liar", site.port, model="liar", version="1", role="champion")
    prometheus.eventually('mlops_agent_tasks{workload="model-liar",exported_workload="agent"}')
    assert prometheus.query('mlops_agent_tasks{workload!="model-liar",model="liar"}') == []
    site.forget("model-liar")


def test_what_was_known_stays_known_while_the_agent_is_silent_and_series_outlive_a_restart(
    prometheus: server.Prometheus, site: Any
) -> None:
    prometheus.eventually('up{workload="agent"} == 1')
    then = str(time.time())
    site.stop()
    until(lambda: prometheus.query('up{workload="agent"} == 0'), "nobody sees that the agent is gone")
    until(lambda: prometheus.query("increase(prometheus_sd_http_failures_total[1m]) > 0"), "no failed discovery")
    assert any(target["labels"]["workload"] == "agent" for target in prometheus.targets())
    prometheus.stop()
    prometheus.start()
    [before] = prometheus.query('up{workload="agent"}', time=then)
    assert before["value"][1] == "1"


def test_rules_are_loaded_as_they_are_written(prometheus: server.Prometheus) -> None:
    groups = json.loads(prometheus.get("/api/v1/rules"))["data"]["groups"]
    names = {rule["name"] for group in groups for rule in group["rules"]}
    assert {"TargetDown", "DriftDetected", "SnapshotStale", "model:drift_score_ratio:max"} <= names
    assert [rule for group in groups for rule in group["rules"] if rule["health"] == "err"] == []
