# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""How the service is, as documents: whether it works at all, whether it keeps up, and all that it knows."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final

from mlops_runtime.drift.artefact import Artefact
from mlops_runtime.drift.service.catalogue import Catalogue
from mlops_runtime.drift.service.loop import Loop
from mlops_runtime.drift.service.problems import ALL_SUFFER

_STUCK_SECONDS: Final = 180.0
"""Longer than anything that the loop waits for."""


def live(loop: Loop) -> tuple[int, dict[str, Any]]:
    """Whether a restart would help: the loop goes round."""
    age = time.monotonic() - loop.beat
    return (200 if age < _STUCK_SECONDS else 503), {"status": "ok" if age < _STUCK_SECONDS else "stuck", "age": age}


def ready(loop: Loop, catalogue: Catalogue, lag: int) -> tuple[int, dict[str, Any]]:
    """`ready`, `lagging` (it works, and is behind: 200), or `not ready` with the reasons (503)."""
    reasons = []
    problems = loop.problems.now()
    if not catalogue.known():
        reasons.append(f"the models aren't known: {catalogue.problem}")
    elif catalogue.models and not loop.joined:
        reasons.append("the consumer group hasn't given this replica its part yet")
    reasons += [f"{about}: {problems[about]}" for about in ALL_SUFFER if about in problems]
    with loop.lock:
        behind = {held.stream.model: held.lag for held in loop.partitions if held.lag > lag}
        waiting = [f"{held.key[0]} [{held.key[1]}]" for held in loop.partitions if held.waits]
        misfits = [
            (held.stream.model, version, why)
            for held in loop.partitions
            for version, why in held.stream.misfits.items()
        ]
    status = "not ready" if reasons else "lagging" if behind else "ready"
    models = {model: dict(known.problems) for model, known in catalogue.models.items() if known.problems}
    for model, version, why in misfits:
        models.setdefault(model, {})[version] = f"no record fits its artefact: {why}"
    return (503 if reasons else 200), {
        "status": status,
        "reasons": reasons,
        "lag": behind,
        "waiting": waiting,
        "problems": {about: problem for about, problem in problems.items() if about not in ALL_SUFFER},
        "models": models,
        "registry": catalogue.problem,
    }


def state(loop: Loop, catalogue: Catalogue) -> dict[str, Any]:
    """Models, versions, and of each partition its digest, counts, readings and latest alarms."""
    models: dict[str, Any] = {
        model: {
            "default": known.default,
            "versions": {
                name: "watched" if isinstance(found, Artefact) else known.problems.get(name, found.value)
                for name, found in known.versions.items()
            },
            "partitions": {},
        }
        for model, known in dict(catalogue.models).items()
    }
    with loop.lock:
        for held in loop.partitions:
            stream = held.stream
            place = models.setdefault(stream.model, {"versions": {}, "partitions": {}})
            place["partitions"][str(held.key[1])] = {
                "offset": held.offset,
                "committed": held.committed,
                "labels_offset": stream.labels_offset,
                "lag": held.lag,
                "digest": stream.digest(),
                "dead": dict(stream.dead),
                "unwatched": dict(stream.unwatched),
                "notes": list(stream.notes),
                "alarms": [asdict(alarm) for alarm in stream.alarms],
                "versions": {
                    version: {
                        "rows": watcher.rows,
                        "failed": dict(watcher.failed),
                        "performance": watcher.performance.metrics() if watcher.performance else {},
                        "readings": [
                            {"detector": name, **asdict(reading), "ratio": reading.ratio}
                            for name, reading in watcher.readings()
                        ],
                    }
                    for version, watcher in stream.watchers.items()
                },
            }
    return {"models": models}
