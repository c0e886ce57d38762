# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who calls the model when: a bounded queue before it, and rows of concurrent requests in one call.

The model is called on the main thread between two turns of the event loop, as Seldon's wrapper calls it: one request
at a time, no hand-over. A model that turns out to be slow moves to a thread of its own, so that health checks, new
requests and refusals don't wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from mlops_runtime.serving.model import Call, Model
from mlops_runtime.serving.seldon import SeldonMicroserviceException

log = logging.getLogger(__name__)

SLOW_SECONDS = 0.1

ThreadMode = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Limits:
    waiting: int = 256  # requests in the queue of one worker
    seconds: float = 30.0  # that a request may wait in it
    rows: int = 1024  # put together in one call
    wait_seconds: float = 0.0  # for more rows to come; the default adds no delay
    threads: int = 1
    thread: ThreadMode = "auto"


@dataclass(slots=True)
class _Job:
    run: Callable[[], Any]
    call: Call | None
    future: asyncio.Future[Any]
    since: float


def overloaded(message: str) -> SeldonMicroserviceException:
    return SeldonMicroserviceException(message, status_code=503, reason="MICROSERVICE_OVERLOADED")


class Scheduler:
    """Runs jobs on the model, one at a time (or as many as `threads`). Belongs to one event loop."""

    def __init__(self, model: Model, limits: Limits) -> None:
        self._model = model
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Job] = deque()
        self._scheduled = False
        self._running = 0
        self._slow_calls = 0
        self._pool: ThreadPoolExecutor | None = None
        if limits.threads > 1 or limits.thread == "always":
            self._use_threads()

    def _use_threads(self) -> None:
        self._pool = ThreadPoolExecutor(self._limits.threads, thread_name_prefix="model")

    @property
    def in_threads(self) -> bool:
        return self._pool is not None

    async def predict(self, call: Call) -> Any:
        """The class's answer to a request that was opened; its rows may travel with those of others."""
        return await self._submit(lambda: self._model.run(call), call)

    async def run(self, function: Callable[[], Any], ahead: bool = False) -> Any:
        """Call a function that uses the model; `ahead` of all that wait, and never refused."""
        return await self._submit(function, None, ahead)

    async def _submit(self, run: Callable[[], Any], call: Call | None, ahead: bool = False) -> Any:
        if not ahead and len(self._queue) >= self._limits.waiting:
            raise overloaded(f"{len(self._queue)} requests are waiting for the model already")
        job = _Job(run, call, self._loop.create_future(), time.monotonic())
        if ahead:
            self._queue.appendleft(job)
        else:
            self._queue.append(job)
        self._wake(self._limits.wait_seconds if call is not None and call.rows is not None else 0.0)
        return await job.future

    def _wake(self, delay: float = 0.0) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        if delay:
            self._loop.call_later(delay, self._turn)
        else:
            # One turn later: requests that arrived together are then all in the queue.
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._running >= self._limits.threads:
            return
        jobs = self._next()
        if not jobs:
            return
        if self._pool is None:
            self._inline(jobs)
        else:
            self._running += 1
            self._pool.submit(self._in_thread, jobs)
        if self._queue and self._running < self._limits.threads:
            self._wake()

    def _next(self) -> list[_Job]:
        """The first job that is still wanted, with others whose rows go with it."""
        jobs: list[_Job] = []
        rows, kind = 0, None
        oldest = time.monotonic() - self._limits.seconds
        while self._queue:
            job = self._queue[0]
            if job.future.done():  # the client is gone
                self._queue.popleft()
                continue
            if job.since < oldest:
                self._queue.popleft()
                job.future.set_exception(overloaded(f"waited {self._limits.seconds:g} s for the model"))
                continue
            held = job.call.rows if job.call is not None else None
            job_kind = None if held is None else (held.dtype, held.shape[1:], job.call.is_proto if job.call else None)
            if jobs and (
                kind is None or job_kind != kind or rows + len(held if held is not None else ()) > self._limits.rows
            ):
                break
            jobs.append(self._queue.popleft())
            if job_kind is None:
                break
            kind, rows = job_kind, rows + len(held if held is not None else ())
        return jobs

    def _inline(self, jobs: list[_Job]) -> None:
        started = time.monotonic()
        results = self._call(jobs)
        elapsed = time.monotonic() - started
        _resolve(jobs, results)
        if self._limits.thread == "auto":
            self._slow_calls = self._slow_calls + 1 if elapsed > SLOW_SECONDS else max(0, self._slow_calls - 1)
            if self._slow_calls >= 3:
                log.info("Calls of the model take %.1f s: they run in a thread from now on", elapsed)
                self._use_threads()

    def _in_thread(self, jobs: list[_Job]) -> None:
        results = self._call(jobs)
        self._loop.call_soon_threadsafe(self._finished, jobs, results)

    def _finished(self, jobs: list[_Job], results: list[Any]) -> None:
        self._running -= 1
        _resolve(jobs, results)
        if self._queue:
            self._wake()

    def _call(self, jobs: list[_Job]) -> list[Any]:
        if len(jobs) > 1:
            try:
                return self._model.run_rows([job.call for job in jobs if job.call is not None])
            except Exception as error:
                # One request may have spoilt it for the others: each by itself tells which.
                log.debug("A batch of %d failed, calling one by one: %s", len(jobs), error)
        results: list[Any] = []
        for job in jobs:
            try:
                results.append(job.run())
            except Exception as error:
                results.append(error)
        return results

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _resolve(jobs: list[_Job], results: list[Any]) -> None:
    for job, result in zip(jobs, results, strict=True):
        if job.future.done():
            continue
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)
