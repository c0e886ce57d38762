# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Prefect's `flow` and `task`, held to one rule: when a task fails, the run fails.

Prefect itself calls a run Completed if its flow returns, whatever has become of its tasks. These two are used in the
place of Prefect's own, with the same options.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import prefect
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from mlops_runtime.pipelines.errors import TaskFailed

_failed: Final[dict[str, list[str]]] = defaultdict(list)
"""Tasks that have failed for good, by flow run."""
_changing: Final = threading.Lock()


def flow(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """As Prefect's `flow`; with it a run fails as well where a task has failed and the flow went on."""
    if function is None:
        return functools.partial(flow, **options)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def held_async(*arguments: Any, **named: Any) -> Any:
            _begin()
            found = await function(*arguments, **named)
            hold()
            return found

        return prefect.flow(held_async, **options)

    @functools.wraps(function)
    def held(*arguments: Any, **named: Any) -> Any:
        _begin()
        found = function(*arguments, **named)
        hold()
        return found

    return prefect.flow(held, **options)


def task(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """As Prefect's `task`, without a cache: what tasks of a retraining are given are frames, and a run in MLflow."""
    if function is None:
        return functools.partial(task, **options)
    hooks = [_note, *(options.pop("on_failure", None) or [])]
    return prefect.task(function, **{"cache_policy": NO_CACHE, **options, "on_failure": hooks})


def hold() -> None:
    """Raises TaskFailed where a task of this flow run has failed, its own retries included."""
    failed = _failed.get(_run_id(), [])
    if failed:
        raise TaskFailed(f"failed: {'; '.join(failed)}")


def _note(_task: Any, task_run: Any, state: Any) -> None:
    with _changing:
        _failed[str(task_run.flow_run_id)].append(f"{task_run.name}: {state.message}")


def _begin() -> None:
    """A flow that Prefect tries again begins without what failed before."""
    with _changing:
        _failed.pop(_run_id(), None)


def _run_id() -> str:
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else ""
