# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The documented alert, in a Grafana that is a real one: told again and again, through crashes, it is one run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana import PASSWORD, USER, Grafana, RealGrafana
from prometheus import Prometheus, missing
from stand import CLIENTS, ROOT, Controller, Site, eventually

pytestmark = pytest.mark.skipif(
    "MLOPS_GRAFANA_HOME" not in os.environ or bool(missing()),
    reason=missing() or "no MLOPS_GRAFANA_HOME; bin/test grafana builds one",
)
SECRETS = {"grafana_hash_key": "hash-key-for-tests", "webhook_token": CLIENTS["grafana"]["secret"]}


@pytest.fixture
def grafana(tmp_path: Path) -> Iterator[RealGrafana]:
    with Grafana.started(tmp_path) as running:
        assert isinstance(running, RealGrafana)
        yield running


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    with Prometheus.started(tmp_path / "prometheus", {"scrape_configs": []}) as running:
        yield running


def documented(grafana: Grafana, prometheus: Prometheus, controller: Controller, ratio: str) -> list[dict[str, Any]]:
    """The play of docs/alerting.md with this test's addresses and expression, repeating itself every second."""
    found = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/alerting.md").read_text(), re.DOTALL)
    assert found
    [play] = yaml.safe_load(found[1])
    play["module_defaults"]["group/mlops.onprem.platform"] = {
        "grafana_url": grafana.url, "username": USER, "password": PASSWORD,
    }  # fmt: skip
    play["vars"] = {**SECRETS, "ansible_python_interpreter": sys.executable}
    asked = {
        name.removeprefix("mlops.onprem.grafana_"): options
        for task in play["tasks"]
        for name, options in task.items()
        if name != "name"
    }
    asked["data_source"]["url"] = prometheus.url
    asked["contact_point"]["integrations"][0]["settings"]["url"] = f"{controller.url}/v1/alerts"
    asked["notification_policy"]["routes"][0] |= {"group_interval": "1s", "repeat_interval": "1s"}
    [rule] = asked["alert_rule_group"]["rules"]
    rule["for"] = "0s"
    rule["data"][0]["model"]["expr"] = ratio
    return [play]


def run(folder: Path, play: list[dict[str, Any]]) -> int:
    """How many tasks changed something."""
    (folder / "play.yml").write_text(yaml.safe_dump(play, sort_keys=False))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", folder / "play.yml"],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.findall(r"changed=(\d+)", done.stdout)[0])


def test_told_ten_times_and_more_while_both_are_killed_is_one_run(
    tmp_path: Path, grafana: RealGrafana, prometheus: Prometheus, controller: Controller, site: Site
) -> None:
    model = controller.knows(site.model(cooldown="1s"))

    def drift(ratio: int) -> list[dict[str, Any]]:
        labelled = f'label_replace(label_replace(vector({ratio}), "model", "{model}", "", ""), "version", "1", "", "")'
        return documented(grafana, prometheus, controller, labelled)

    def times() -> int:
        return sum(int(one["times"]) for one in controller.episode(model)["alerts"])

    assert run(tmp_path, drift(2)) == 4
    eventually(lambda: controller.episodes(model), 120, lambda: controller.get("/v1/refusals").text)
    eventually(lambda: times() >= 10, 120, times)
    for crashing in (grafana, controller, grafana):
        before = times()
        crashing.kill()
        crashing.start()
        eventually(lambda before=before: times() >= before + 3, 120, times)
    controller.run_of(model, "completed")
    # It is over; Grafana says so, and nothing else comes of it.
    assert run(tmp_path, drift(0)) == 1
    eventually(lambda: controller.episode(model)["closed_at"], 120, lambda: controller.episode(model))
    assert len(site.runs(model)) == 1 and len(site.executed(model)) == 1
    assert controller.decisions(model) == ["opened", "accepted", "started", "completed", "closed"]
