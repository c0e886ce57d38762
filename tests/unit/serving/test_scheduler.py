# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Order, batches, refusals and threads of the calls to a model."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from mlops_runtime.serving.metrics import Registry, model_labels
from mlops_runtime.serving.model import PREDICT, Model, Options
from mlops_runtime.serving.scheduler import Limits, Scheduler
from mlops_runtime.serving.seldon import SeldonMicroserviceException


class Rows:
    """Answers the rows, and remembers how many there were in each call."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.calls: list[int] = []

    def predict_rows(self, rows: Any) -> Any:
        time.sleep(self.seconds)
        self.calls.append(len(rows))
        if (rows < 0).any():
            raise ValueError("negative")
        return rows * 2


def rows(*values: float, names: list[str] | None = None) -> dict[str, Any]:
    return {"data": {"ndarray": [[value] for value in values], "names": names or []}}


def run(user: Any, requests: list[Any], limits: Limits | None = None) -> list[Any]:
    async def serve() -> list[Any]:
        model = Model(user, Registry(model_labels({})), Options())
        scheduler = Scheduler(model, limits or Limits())

        async def ask(request: Any) -> Any:
            answer = await scheduler.predict(model.open(PREDICT, request))
            return answer["data"]["ndarray"]

        answers = await asyncio.gather(*map(ask, requests), return_exceptions=True)
        scheduler.close()
        return list(answers)

    return asyncio.run(serve())


def test_concurrent_rows_are_one_call_and_go_back_to_their_requests() -> None:
    user = Rows()
    answers = run(user, [rows(1), rows(2, 3), rows(4)])
    assert answers == [[[2.0]], [[4.0], [6.0]], [[8.0]]]
    assert user.calls == [4]


def test_a_batch_has_a_limit() -> None:
    user = Rows()
    run(user, [rows(1, 1)] * 5, Limits(rows=4))
    assert user.calls == [4, 4, 2]


def test_what_does_not_fit_together_is_called_apart() -> None:
    user = Rows()
    answers = run(user, [rows(1), {"data": {"ndarray": [[1, 2]]}}, rows(1.5), rows(3)])
    assert answers == [[[2]], [[2, 4]], [[3.0]], [[6]]]


def test_one_bad_request_spoils_no_other() -> None:
    user = Rows()
    answers = run(user, [rows(1), rows(-1), rows(2)])
    assert answers[0] == [[2]] and answers[2] == [[4]]
    assert isinstance(answers[1], ValueError)


def test_a_wrong_number_of_answers_is_not_shared_out() -> None:
    class Short(Rows):
        def predict_rows(self, rows: Any) -> Any:
            self.calls.append(len(rows))
            return np.zeros((1, 1))

    user = Short()
    assert run(user, [rows(1), rows(2)]) == [[[0.0]], [[0.0]]]
    assert user.calls == [2, 1, 1]


def test_more_than_the_queue_is_refused() -> None:
    answers = run(Rows(), [rows(1)] * 5, Limits(waiting=3))
    refused = [answer for answer in answers if isinstance(answer, SeldonMicroserviceException)]
    assert [error.status_code for error in refused] == [503, 503]


def test_who_waited_too_long_is_refused() -> None:
    answers = run(Rows(0.15), [rows(value) for value in range(4)], Limits(seconds=0.2, rows=1, thread="always"))
    assert isinstance(answers[-1], SeldonMicroserviceException)
    assert answers[0] == [[0]]


@pytest.mark.parametrize(("mode", "threads"), [("auto", True), ("never", False)])
def test_a_slow_model_moves_to_a_thread(mode: Any, threads: bool) -> None:
    async def serve() -> bool:
        model = Model(Rows(0.12), Registry(model_labels({})), Options())
        scheduler = Scheduler(model, Limits(thread=mode))
        for _ in range(4):
            await scheduler.predict(model.open(PREDICT, rows(1)))
        scheduler.close()
        return scheduler.in_threads

    assert asyncio.run(serve()) is threads


def test_health_goes_ahead_of_all_that_wait() -> None:
    async def serve() -> list[str]:
        order: list[str] = []
        model = Model(Rows(), Registry(model_labels({})), Options())
        scheduler = Scheduler(model, Limits(waiting=2))
        jobs = [scheduler.run(lambda: order.append("other")) for _ in range(2)]
        await asyncio.gather(*jobs, scheduler.run(lambda: order.append("health"), ahead=True))
        return order

    assert asyncio.run(serve()) == ["health", "other", "other"]


def test_a_client_that_is_gone_costs_no_call() -> None:
    async def serve() -> list[int]:
        user = Rows()
        model = Model(user, Registry(model_labels({})), Options())
        scheduler = Scheduler(model, Limits(rows=1))
        tasks = [asyncio.create_task(scheduler.predict(model.open(PREDICT, rows(value)))) for value in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return user.calls

    assert asyncio.run(serve()) == [1, 1]
