# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""From an alert to a run of a real flow: exactly one for each episode, whatever comes twice, flaps, dies or is away."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from postgresql import Postgresql
from prefect import Prefect
from stand import Controller, Site, alert, call, eventually

Start = Callable[..., Controller]


def over(controller: Controller, model: str) -> None:
    """Waits until no episode of the model is open."""
    eventually(
        lambda: all(item["closed_at"] for item in controller.episodes(model)), 30, lambda: controller.episodes(model)
    )


def test_one_alert_ten_times_at_once_and_again_is_one_run(controller: Controller, site: Site) -> None:
    model = controller.knows(site.model())
    drift = alert(model, began=datetime.now(UTC) - timedelta(seconds=5))
    assert controller.send_at_once(10, drift) == [200] * 10
    run = controller.run_of(model, "completed")
    assert controller.send_at_once(10, drift) == [200] * 10
    [found] = site.runs(model)
    episode = controller.episode(model)
    assert (found["id"], found["idempotency_key"]) == (run["flow_run"], episode["id"])
    assert found["parameters"] == {"model": model, "version": "1", "episode": episode["id"]}
    assert site.executed(model) == [f"{model} 1 {episode['id']}"]
    assert controller.decisions(model) == ["opened", "accepted", "started", "completed"]
    assert episode["alerts"][0]["times"] == 20
    assert episode["stages"]["alert"] >= 5 and set(episode["stages"]) == {"alert", "decide", "start", "wait", "train"}
    # Somebody moves the alias: the loop is closed.
    site.version(model)
    site.alias(model, "champion", "2")
    eventually(lambda: "promote" in controller.episode(model)["stages"], 30)
    metrics = call(controller.inside + "/metrics").text
    for stage in ("alert", "decide", "start", "wait", "train", "promote"):
        eventually(
            lambda stage=stage: f'model="{model}",stage="{stage}"' in call(controller.inside + "/metrics").text, 10
        )
    assert 'mlops_lifecycle_alerts_total{outcome="continued"}' in metrics


def test_flapping_is_one_episode_and_what_comes_after_it_waits_for_the_cooldown(
    controller: Controller, site: Site
) -> None:
    model = controller.knows(site.model(cooldown="15s"))
    begun = datetime.now(UTC) - timedelta(minutes=1)
    for number in range(5):
        since = begun + timedelta(seconds=number)
        assert controller.send(alert(model, began=since)).code == 200
        assert controller.send(alert(model, began=since, firing=False)).json["alerts"][0]["outcome"] == "resolved"
    over(controller, model)
    assert controller.episode(model)["run"] is not None
    # What is repeated too late is no news.
    late = controller.send(alert(model, began=since)).json["alerts"][0]
    assert (late["outcome"], len(controller.episodes(model))) == ("ignored", 1)
    assert controller.send(alert(model)).json["alerts"][0]["outcome"] == "opened"
    held = controller.episodes(model)[0]
    assert held["state"] == "held" and ("cool-down of 15s" in held["reason"] or "hasn't ended" in held["reason"])
    eventually(lambda: len(site.runs(model)) == 2, 300, lambda: controller.episodes(model))
    assert [item["state"] for item in controller.episodes(model)] == ["accepted", "accepted"]


def test_what_was_held_and_is_over_starts_nothing(controller: Controller, site: Site) -> None:
    model = controller.knows(site.model(cooldown="1h"))
    first = alert(model, began=datetime.now(UTC) - timedelta(seconds=30))
    controller.send(first)
    controller.run_of(model, "completed")
    controller.send({**first, "status": "resolved"})
    over(controller, model)
    second = alert(model)
    controller.send(second)
    controller.send({**second, "status": "resolved"})
    over(controller, model)
    assert [item["state"] for item in controller.episodes(model)] == ["held", "accepted"]
    assert len(site.runs(model)) == 1


def test_notify_is_none_and_ask_is_one_after_approval(controller: Controller, site: Site) -> None:
    notified, asked = controller.knows(site.model(action="notify")), controller.knows(site.model(action="ask"))
    controller.send(alert(notified), alert(asked))
    episode = controller.episode(asked)
    assert (episode["state"], controller.episode(notified)["state"]) == ("asked", "notified")
    assert controller.post(f"/v1/episodes/{episode['id']}/approve", {}, client="reader").code == 403
    assert controller.post(f"/v1/episodes/{episode['id']}/approve", {"why": "x"}).code == 422
    for _ in range(3):
        assert controller.post(f"/v1/episodes/{episode['id']}/approve", {"reason": "looks real"}).code == 200
    controller.run_of(asked, "completed")
    assert "approved by person: looks real" in controller.episode(asked)["reason"]
    assert controller.post(f"/v1/episodes/{episode['id']}/refuse", {}).code == 409
    assert (len(site.runs(asked)), len(site.runs(notified))) == (1, 0)


def test_two_alerts_of_a_version_are_one_run_and_a_task_that_failed_is_seen(controller: Controller, site: Site) -> None:
    model = controller.knows(site.model(parameters={"works": False}))
    controller.send(alert(model), alert(model, metric="f1"))
    run = controller.run_of(model, "failed")
    assert run["reason"] == "it ended Completed, but 1 of its task runs failed"
    assert len(site.runs(model)) == 1 and len(controller.episode(model)["alerts"]) == 2


def test_a_run_that_crashed_is_begun_again_and_not_for_ever(
    controller: Controller, site: Site, prefect: Prefect
) -> None:
    """As Prefect says of a run whose process, worker or node is gone."""

    def crash(run: str) -> None:
        state = {"type": "CRASHED", "name": "Crashed", "message": "its node is gone"}
        prefect.api("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})

    model = controller.knows(site.model(parameters={"seconds": 5}))
    controller.send(alert(model))
    run = str(eventually(lambda: (controller.episode(model)["run"] or {}).get("flow_run"), 60))
    crash(run)
    ended = controller.run_of(model, "completed")
    assert ended["flow_run"] == run and ended["resumed"] >= 1
    assert "its node is gone; it is begun again (1 of 3)" in str(controller.get(f"/v1/decisions?model={model}").json)

    hopeless = controller.knows(site.model(parameters={"seconds": 600}))
    controller.send(alert(hopeless))
    run = str(eventually(lambda: (controller.episode(hopeless)["run"] or {}).get("flow_run"), 60))
    for resumed in (1, 2, 3):
        crash(run)
        eventually(lambda n=resumed: controller.episode(hopeless)["run"]["resumed"] == n, 60)
        # Before it is said to have crashed once more it has to have been taken up.
        eventually(lambda: prefect.api("GET", f"/flow_runs/{run}")["state"]["type"] != "CRASHED", 60)
    crash(run)
    assert controller.run_of(hopeless, "crashed")["reason"] == "its node is gone"
    assert len(site.runs(model)) == len(site.runs(hopeless)) == 1


def test_a_missing_deployment_is_named_and_awaited(controller: Controller, site: Site) -> None:
    model = controller.knows(site.model(deployment=False))
    controller.send(alert(model))
    eventually(lambda: "no deployment retrain-" in (controller.episode(model)["run"] or {})["reason"], 30)
    site.deploy(model, {})
    controller.run_of(model, "completed")
    assert controller.decisions(model).count("waits") == 1


def test_two_controllers_with_one_ledger(
    controller: Controller, controller_of: Start, site: Site, prefect: Prefect
) -> None:
    other = controller_of(prefect.url, ledger=controller.name)
    other.start()
    model = controller.knows(site.model())
    drift = alert(model)
    both = [threading.Thread(target=each.send_at_once, args=(8, drift)) for each in (controller, other)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    controller.run_of(model, "completed")
    assert len(site.runs(model)) == 1
    other.stop()


def test_killed_between_two_of_ten_alerts(controller_of: Start, site: Site, prefect: Prefect) -> None:
    model = site.model()
    controller = controller_of(prefect.url)
    controller.start()
    controller.knows(model)
    drift, codes = alert(model), []
    sending = threading.Thread(target=lambda: codes.extend(controller.send_at_once(10, drift)))
    sending.start()
    eventually(lambda: controller.sql(f"SELECT 1 FROM episodes WHERE model = '{model}'"))
    controller.kill()
    sending.join()
    controller.start()
    assert controller.send(drift).code == 200
    controller.run_of(model, "completed")
    assert len(site.runs(model)) == len(site.executed(model)) == 1


class Cut:
    """Stands before Prefect: passes the first start of a run on, and does something in the place of its answer."""

    def __init__(self, target: str, then: Callable[[], None]) -> None:
        self.passed = 0
        parts, cut = urlsplit(target), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
                connection.request("POST", self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                if self.path.endswith("/create_flow_run"):
                    cut.passed += 1
                    if cut.passed == 1:
                        then()
                        return
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}{parts.path}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def cut(prefect: Prefect) -> Iterator[Callable[[Callable[[], None]], Cut]]:
    made: list[Cut] = []

    def make(then: Callable[[], None]) -> Cut:
        made.append(Cut(prefect.url, then))
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()


def test_killed_after_prefect_took_the_run_and_before_the_ledger_knew(
    controller_of: Start, site: Site, cut: Callable[[Callable[[], None]], Cut]
) -> None:
    model = site.model()
    killed: list[Controller] = []
    proxy = cut(lambda: killed[0].kill())
    controller = controller_of(proxy.url)
    killed.append(controller)
    controller.start()
    controller.knows(model)
    controller.send(alert(model))
    eventually(lambda: len(site.runs(model)) == 1, 60)
    assert controller.sql(f"SELECT state FROM runs WHERE model = '{model}'") == [["queued"]]
    controller.start()
    controller.run_of(model, "completed")
    assert len(site.runs(model)) == len(site.executed(model)) == 1


def test_the_database_goes_while_prefect_takes_the_run(
    controller_of: Start, site: Site, postgresql: Postgresql, cut: Callable[[Callable[[], None]], Cut]
) -> None:
    model = site.model()
    controller = controller_of(cut(postgresql.stop).url)
    controller.start()
    controller.knows(model)
    drift = alert(model)
    controller.send(drift)
    eventually(lambda: postgresql.process is None, 60)
    refused = controller.send(drift)
    assert (refused.code, refused.headers["retry-after"]) == (503, "5")
    assert "the ledger doesn't answer" in refused.json["error"]
    assert (
        call(controller.inside + "/health/ready").code == 503 and call(controller.inside + "/health/live").code == 200
    )
    postgresql.start()
    eventually(lambda: controller.send(drift).code == 200, 60)
    controller.run_of(model, "completed")
    assert len(site.runs(model)) == 1


def test_prefect_is_away_and_comes_back(controller_of: Start, site: Site, prefect: Prefect) -> None:
    model = site.model()
    controller = controller_of("http://127.0.0.1:9/api")
    controller.start()
    controller.knows(model)
    assert controller.send(alert(model)).code == 200
    eventually(lambda: (controller.episode(model)["run"] or {}).get("reason"), 30)
    answer = call(controller.inside + "/health/ready")
    assert answer.code == 200 and "pipelines" in answer.json["problems"]
    # It comes back under another address, which a test can have without stopping everybody's server.
    controller.kill()
    controller.settings["MLOPS_LIFECYCLE_PREFECT"] = prefect.url
    controller.start()
    controller.run_of(model, "completed")
    assert len(site.runs(model)) == 1


def test_wrong_credentials_for_prefect_are_said_and_do_not_lose_the_run(
    controller_of: Start, site: Site, prefect: Prefect
) -> None:
    model = site.model()
    controller = controller_of(prefect.url)
    auth = (controller.directory / "prefect").read_text()
    (controller.directory / "prefect").write_text("admin:wrong")
    controller.start()
    controller.knows(model)
    controller.send(alert(model))
    reason = eventually(lambda: (controller.episode(model)["run"] or {}).get("reason"), 30)
    assert "401" in reason and "the user or password is another one" in reason
    controller.kill()
    (controller.directory / "prefect").write_text(auth)
    controller.start()
    controller.run_of(model, "completed")


def test_the_limit_holds_over_models(controller_of: Start, site: Site, prefect: Prefect) -> None:
    first, second = site.model(parameters={"seconds": 4}), site.model()
    controller = controller_of(prefect.url, MLOPS_LIFECYCLE_RUNS="1")
    controller.start()
    controller.knows(second)
    controller.send(alert(first))
    controller.send(alert(second))
    assert controller.episode(second)["reason"] == "1 retraining runs at once are the limit"
    controller.run_of(second, "completed")
    assert controller.episode(first)["run"]["ended_at"] < controller.episode(second)["run"]["queued_at"]
