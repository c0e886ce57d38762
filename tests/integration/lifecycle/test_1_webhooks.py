# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who is let in, what is refused and how that is said, and that a flood stays small; without a pipeline server."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from mlflow import Mlflow
from stand import CLIENTS, JSON, Controller, Site, alert, call, eventually, webhook

NOWHERE = "http://127.0.0.1:9/api"


@pytest.fixture(scope="module")
def models(mlflow: Mlflow) -> Site:
    return Site(mlflow, None, None)


@pytest.fixture(scope="module")
def running(controller_of: Callable[..., Controller]) -> Controller:
    made = controller_of(NOWHERE)
    made.start()
    return made


@pytest.fixture
def notifying(models: Site, running: Controller) -> str:
    """A model for which nothing is started."""
    return running.knows(models.model(deployment=False, action="notify"))


def refusals(running: Controller) -> Counter[str]:
    counts: Counter[str] = Counter()
    for item in running.get("/v1/refusals?limit=500").json["refusals"]:
        counts[item["kind"]] += item["times"]
    return counts


def test_an_alert_of_either_format_with_password_or_token(running: Controller, notifying: str) -> None:
    grafana = running.send(alert(notifying))
    assert (grafana.code, grafana.json["alerts"][0]["outcome"]) == (200, "opened")
    alertmanager = {"version": "4", "groupKey": "{}", "truncatedAlerts": 0, "alerts": [alert(notifying, zone="b")]}
    token = {"Authorization": f"Bearer {CLIENTS['grafana']['secret']}", **JSON}
    answer = call(running.url + "/v1/alerts", body=json.dumps(alertmanager).encode(), headers=token)
    assert (answer.code, answer.json["alerts"][0]["outcome"]) == (200, "continued")
    episode = running.episode(notifying)
    assert (episode["state"], episode["run"], len(episode["alerts"])) == ("notified", None, 2)
    assert running.decisions(notifying) == ["opened", "notified"]


def test_who_is_not_let_in(running: Controller, notifying: str) -> None:
    body, url, before = webhook(alert(notifying)), running.url + "/v1/alerts", refusals(running)
    for headers in ({}, {"Authorization": "Bearer something-that-is-wrong"}, {"Authorization": "Basic !!"}):
        answer = call(url, body=body, headers={**JSON, **headers})
        assert (answer.code, answer.headers["www-authenticate"][:5]) == (401, "Basic")
    assert call(url, body=body, client="person", headers=JSON).code == 403
    assert running.get("/v1/models", client="grafana").code == 403
    assert call(running.url + "/").code == 401
    assert running.episodes(notifying) == []
    eventually(lambda: refusals(running) - before == {"credentials": 3, "rights": 1}, 10, lambda: refusals(running))


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"{", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"[]", 400, "the body must be an object"),
        (b'{"alerts": []}', 400, "alerts: must be a list of at least one alert"),
        (b"x" * 2**20, 413, "has more than 524288 bytes"),
    ],
)
def test_what_is_no_webhook(running: Controller, body: bytes, code: int, message: str) -> None:
    before = refusals(running)
    answer = call(running.url + "/v1/alerts", body=body, client="grafana", headers=JSON)
    assert answer.code == code and message in answer.json["error"]
    kind = "too large" if code == 413 else "malformed"
    eventually(lambda: refusals(running) - before == {kind: 1}, 10, lambda: refusals(running))


def test_one_refused_alert_does_not_take_the_others_along(running: Controller, notifying: str) -> None:
    strange: list[dict[str, Any]] = [
        alert("nobody"),
        alert(notifying, "latest"),
        alert(notifying, alertname="DatasourceNoData"),
    ]
    answer = running.send(*strange, alert(notifying))
    assert answer.code == 422
    assert [item["outcome"] for item in answer.json["alerts"]] == ["refused", "refused", "refused", "opened"]
    assert "no model 'nobody' with a declaration is registered" in answer.json["error"]
    assert running.episode(notifying)["state"] == "notified"


def test_a_flood_of_refusals_stays_small(running: Controller) -> None:
    # What was refused before is written with this one, at the latest.
    assert running.send(alert("the-last-before")).code == 422
    eventually(lambda: "the-last-before" in running.get("/v1/refusals").text, 30)
    before, strangers = refusals(running), [alert(f"nobody-{number}") for number in range(400)]
    for _ in range(3):
        assert running.send(*strangers).code == 422
    eventually(lambda: (refusals(running) - before)["alert"] == 1200, 30, lambda: refusals(running))
    assert int(running.sql("SELECT count(*) FROM refusals WHERE kind = 'alert'")[0][0]) < 320
    assert running.sql("SELECT count(*) FROM episodes WHERE model LIKE 'nobody%'") == [["0"]]


def test_without_a_version_it_is_the_champions_of_when_it_began(
    running: Controller, models: Site, notifying: str
) -> None:
    latency = alert(notifying, "")
    assert running.send(latency).json["alerts"][0]["version"] == "1"
    models.version(notifying)
    models.alias(notifying, "champion", "2")
    eventually(lambda: "2" in running.get("/v1/decisions?model=" + notifying).json["decisions"][0]["version"], 30)
    for status in ("firing", "resolved"):
        assert running.send({**latency, "status": status}).json["alerts"][0]["version"] == "1"
    assert running.send(alert(notifying, "", zone="b")).json["alerts"][0]["version"] == "2"


def test_the_page_shows_all_and_nothing_of_it_is_markup(running: Controller, notifying: str) -> None:
    harmful = alert(notifying) | {"annotations": {"summary": "<script>alert(1)</script>"}}
    assert running.send(harmful).code == 200
    page = running.get("/")
    assert page.code == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text and "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert notifying in page.text and "notified" in page.text


def test_a_form_of_another_page_is_refused(running: Controller, models: Site) -> None:
    model = running.knows(models.model(deployment=False, action="ask"))
    assert running.send(alert(model)).code == 200
    episode = running.episode(model)
    assert episode["state"] == "asked"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{running.url}/episodes/{episode['id']}/refuse"
    for body in (b"", b"token=1.2", b"token=99999999999.abc&reason=x"):
        assert call(url, body=body, client="person", headers=form).code == 403
    assert (
        call(f"{running.url}/v1/episodes/{episode['id']}/refuse", body=b"{}", client="person", headers=form).code == 415
    )
    assert running.episode(model)["answer"] is None
    assert 'name="token"' not in running.get("/", client="reader").text
    page = running.get("/", client="person").text
    token = re.search(rf'episodes/{episode["id"]}/approve">\s*<input type="hidden" name="token" value="([^"]+)"', page)
    assert token
    answer = call(url, body=f"token={token[1]}&reason=not+now".encode(), client="person", headers=form)
    assert answer.code == 303
    episode = running.episode(model)
    assert (episode["state"], episode["reason"]) == ("refused", "refused by person: not now")
    assert running.post(f"/v1/episodes/{episode['id']}/approve", {}).code == 409


def test_ready_and_not_ready(controller_of: Callable[..., Controller], mlflow: Mlflow, models: Site) -> None:
    notifying = models.model(deployment=False, action="notify")
    made = controller_of(NOWHERE, migrated=False, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    made.start(ready=False)
    answer = call(made.inside + "/health/ready")
    assert answer.code == 503 and "run the command migrate" in answer.json["reasons"][0]
    assert made.send(alert(notifying)).code == 503
    assert sorted(process.wait(120) for process in (made.command("migrate"), made.command("migrate"))) == [0, 0]
    answer = call(made.inside + "/health/ready")
    assert answer.code == 503 and "the models aren't known" in answer.json["reasons"][0]
    refused = made.send(alert(notifying))
    assert (refused.code, refused.headers["retry-after"]) == (503, "5")
    made.stop()
    made.settings["MLFLOW_TRACKING_URI"] = mlflow.uri
    made.start()
    made.stop()
    # From now on it knows the models without the registry.
    made.settings["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
    made.start()
    assert made.send(alert(notifying)).code == 200
    assert "registry" in call(made.inside + "/health/ready").json["problems"]


def test_secrets_are_in_no_log(running: Controller, notifying: str) -> None:
    running.send(alert(notifying))
    told = running.log.read_text()
    for name in ("database", "prefect", "mlflow"):
        assert (running.directory / name).read_text() not in told
    assert all(str(client["secret"]) not in told for client in CLIENTS.values())
