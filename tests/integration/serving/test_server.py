# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The model server as a process: what it does beside answering."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[3] / "runtime" / "src")]

from mlops_runtime.serving.rest import HOLD_SECONDS  # noqa: E402 - found only now
from servers import ORACLE, OURS, Server, python311, serving  # noqa: E402

pytestmark = pytest.mark.skipif(python311() is None, reason="these environments need Python 3.11, which is not here")

PREDICT = "/api/v1.0/predictions"
ONE = {"data": {"ndarray": [[1.0, 2.0]]}}


def parameters(**values: Any) -> dict[str, str]:
    kinds = {float: "FLOAT", bool: "BOOL", int: "INT", str: "STRING"}
    listed = [{"name": name, "value": str(value), "type": kinds[type(value)]} for name, value in values.items()]
    return {"PREDICTIVE_UNIT_PARAMETERS": json.dumps(listed)}


def eventually(condition: Any, seconds: float = 15) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if result := condition():
                return result
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sample(text: str, name: str) -> float:
    """The sum over a metric's series."""
    values = re.findall(rf"^{name}(?:{{.*}})? ([0-9.e+-]+)$", text, re.MULTILINE)
    return sum(map(float, values))


def workers(server: Server) -> set[int]:
    return {int(server.post(PREDICT, ONE)[1]["data"]["ndarray"][0][0]) for _ in range(20)}


def test_alive_but_not_ready_while_loading() -> None:
    with serving(OURS, "Slow", workers=2, env=parameters(load_seconds=HOLD_SECONDS + 8), wait=False) as server:
        assert eventually(lambda: server.request("GET", "/health/ping"))[0] == 200
        assert server.post(PREDICT, ONE)[0] == 503
        # Who asks for its health is kept waiting; not for ever, and not once it is there.
        asked = time.monotonic()
        status, body = server.request("GET", "/health/status")
        assert status == 503 and time.monotonic() - asked >= HOLD_SECONDS
        assert "loading" in json.loads(body)["status"]["info"]
        assert server.post(PREDICT, ONE)[0] == 503
        eventually(lambda: server.request("GET", "/health/status")[0] == 200, 60)
        assert [server.post(PREDICT, ONE)[0] for _ in range(20)] == [200] * 20


def test_who_waits_for_its_health_hears_when_it_is_stopped() -> None:
    with serving(OURS, "Slow", env=parameters(load_seconds=60), wait=False) as server:
        eventually(lambda: server.request("GET", "/health/ping"))
        with concurrent.futures.ThreadPoolExecutor(1) as beside:
            asked = beside.submit(server.request, "GET", "/health/status")
            assert not concurrent.futures.wait([asked], 0.5).done
            server.process.terminate()
            assert asked.result(HOLD_SECONDS)[0] == 503
        assert server.process.wait(30) == 0


def test_a_model_that_cannot_be_loaded_ends_the_server() -> None:
    with serving(OURS, "Slow", env=parameters(fail=True), wait=False) as server:
        assert server.process.wait(30) == 1
        assert "this model can't be loaded" in server.output()


def test_metrics_are_added_up_over_workers_and_outlive_them() -> None:
    env = {"MLOPS_MODEL": "", "MLOPS_MODEL_VERSION": "7", "PREDICTIVE_UNIT_ID": "slow", "SELDON_DEPLOYMENT_ID": "slow"}
    with serving(OURS, "Slow", workers=2, env=env) as server:
        pids = workers(server)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: server.output().count("another takes its place") == len(pids))
        eventually(lambda: not workers(server) & pids)
        text = server.metrics()
        series = 'model_name="slow",model_image="NOT_IMPLEMENTED",model_version="7"'
        assert series in text
        assert "worker_id" not in text
        before = sample(text, "slow_calls_total")
        requests = sample(text, "seldon_api_executor_client_requests_seconds_count")
        server.post(PREDICT, ONE)
        text = server.metrics()
        assert sample(text, "slow_calls_total") == before + 1
        assert sample(text, "seldon_api_executor_client_requests_seconds_count") == requests + 1
        assert sample(text, "slow_time_count") == before + 1


def test_custom_metrics_have_the_names_and_values_of_the_wrapper() -> None:
    env = {"PREDICTIVE_UNIT_ID": "unit", "PREDICTIVE_UNIT_IMAGE": "image:1", "SELDON_DEPLOYMENT_ID": "d"}
    feedback = {"reward": 0.5, "request": ONE}

    def lines(server: Server) -> set[str]:
        for _ in range(3):
            server.post(PREDICT, ONE)
        server.post("/api/v1.0/feedback", feedback)
        found = set()
        for line in server.metrics().splitlines():
            # How often each was asked for its health until it was up is not the same.
            if line.startswith(("#", "seldon_api_executor")) or 'method="health"' in line:
                continue
            name, labels, value = re.fullmatch(r"(\w+){(.*)} (\S+)", line).groups()  # type: ignore[union-attr]
            kept = sorted(label for label in labels.split(",") if not label.startswith(("worker_id", "le=")))
            bound = re.search(r'le="([^"]+)"', labels)
            place = f"{float(bound[1]):.6g}" if bound else ""
            found.add(f"{name} {kept} {place} {float(value):.9g}")
        return found

    with serving(OURS, "Doubling", env=env) as ours, serving(ORACLE, "Doubling", env=env) as oracle:
        assert lines(ours) == lines(oracle)


def test_more_than_the_queue_holds_is_refused_at_once() -> None:
    env = {**parameters(seconds=0.3), "MLOPS_QUEUE": "2"}
    with serving(OURS, "Slow", env=env) as server, concurrent.futures.ThreadPoolExecutor(12) as pool:
        # Three slow calls, and the model moves to its thread; what comes then is queued or refused.
        for _ in range(3):
            server.post(PREDICT, ONE)
        answers = list(pool.map(lambda _: server.post(PREDICT, ONE), range(12)))
        refused = [answer for status, answer in answers if status == 503]
        assert refused and any(status == 200 for status, _ in answers)
        assert refused[0]["status"]["reason"] == "MICROSERVICE_OVERLOADED"


def test_health_does_not_wait_for_a_slow_model() -> None:
    with serving(OURS, "Slow", env=parameters(seconds=0.5)) as server, concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            server.post(PREDICT, ONE)
        running = [pool.submit(server.post, PREDICT, ONE) for _ in range(4)]
        time.sleep(0.1)
        begun = time.monotonic()
        assert server.request("GET", "/health/status")[0] == 200
        assert time.monotonic() - begun < 0.4
        assert [future.result()[0] for future in running] == [200] * 4


def test_a_stop_lets_what_has_begun_end() -> None:
    env = {**parameters(seconds=1.0), "MLOPS_DRAIN_SECONDS": "0.5", "MLOPS_MODEL_THREAD": "always"}
    with serving(OURS, "Slow", env=env) as server, concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = pool.submit(server.post, PREDICT, ONE)
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert server.request("GET", "/health/status")[0] == 503
        assert running.result()[0] == 200
        assert server.process.wait(15) == 0


def test_who_is_still_asked_goes_on_answering_for_a_while() -> None:
    """The gateway may learn late that it stops: nobody is turned away, and without requests it ends. The pauses are the
    rate of the requests."""
    env = {**parameters(seconds=0.01), "MLOPS_DRAIN_SECONDS": "0.5", "MLOPS_GRACE_SECONDS": "16"}
    with serving(OURS, "Slow", env=env) as server:
        server.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        while time.monotonic() - begun < 4:
            assert server.post(PREDICT, ONE)[0] == 200
            time.sleep(0.1)
        asked = time.monotonic()
        assert server.process.wait(15) == 0
        assert time.monotonic() - asked < 4
    with serving(OURS, "Slow", env=env | {"MLOPS_GRACE_SECONDS": "4"}) as server:
        server.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError, http.client.HTTPException):
            for _ in range(300):
                server.post(PREDICT, ONE)
                time.sleep(0.05)
        assert server.process.wait(15) == 0, "it ends though it is asked all the while"


def test_rows_of_concurrent_requests_travel_together() -> None:
    local = threading.local()

    def ask(value: int) -> tuple[int, Any]:
        # Over connections that stay open, as the gateway's do.
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=20)
        body = json.dumps({"data": {"ndarray": [[value, 1], [value, 2]]}})
        local.connection.request("POST", PREDICT, body, {"Content-Type": "application/json"})
        answer = local.connection.getresponse()
        return answer.status, json.loads(answer.read())

    with serving(OURS, "Rows") as server, concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert ask(3) == (200, {"data": {"names": ["t:0", "t:1"], "ndarray": [[4.0, 2.0], [5.0, 2.0]]}, "meta": {}})
        answers = list(pool.map(ask, range(64)))
        assert [[row[0] for row in answer["data"]["ndarray"]] for _, answer in answers] == [
            [value + 1.0, value + 2.0] for value in range(64)
        ]
        assert max(answer["data"]["ndarray"][0][1] for _, answer in answers) > 2
        # One that fails spoils nobody else's answer; one that is wrong never gets as far.
        answers = list(pool.map(ask, [5, -7, 6, -8, *range(20)]))
        assert [status for status, _ in answers] == [200, 500, 200, 500, *[200] * 20]
        assert server.post(PREDICT, {"data": {"ndarray": [1, 2]}})[1]["status"]["info"] == "rows, please"


def test_too_large_a_request_is_refused() -> None:
    with serving(OURS, "Plain", env={"MLOPS_MAX_BODY": "1000"}) as server:
        status, answer = server.post(PREDICT, {"strData": "x" * 2000})
        assert (status, answer["status"]["reason"]) == (413, "MICROSERVICE_TOO_LARGE")
        assert server.post(PREDICT, {"strData": "x"})[0] == 200


def test_a_worker_is_replaced_after_so_many_requests() -> None:
    with serving(OURS, "Slow", env={"GUNICORN_MAX_REQUESTS": "5"}) as server:
        seen = set()
        for _ in range(30):
            with contextlib.suppress(OSError):
                seen |= {server.post(PREDICT, ONE)[1]["data"]["ndarray"][0][0]}
            time.sleep(0.05)
        assert len(seen) > 1


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"PREDICTIVE_UNIT_HTTP_SERVICE_PORT": "many"}, "PREDICTIVE_UNIT_HTTP_SERVICE_PORT: 'many'"),
        (parameters(unknown=1), "unknown"),
        ({"MODEL_NAME": ""}, "No module named 'Missing'"),
    ],
)
def test_settings_that_cannot_be_used(env: dict[str, str], words: str) -> None:
    name = "Missing" if "MODEL_NAME" in env else "Slow"
    with serving(OURS, name, env=env, wait=False) as server:
        assert server.process.wait(20) != 0
        assert words in server.output()
