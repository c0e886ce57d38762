# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who waits for whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .model import Workload


def dependencies(workloads: Iterable[Workload]) -> dict[str, set[str]]:
    """For each workload those of the list that must be healthy before it starts.

    Workloads that need each other in a circle don't wait for one another: no order would be right.
    """
    needs = {workload.name: set(workload.needs) for workload in workloads}
    known = {name: {need for need in wanted if need in needs} for name, wanted in needs.items()}
    reach = {name: _reachable(name, known) for name in known}
    return {name: {need for need in wanted if name not in reach[need]} for name, wanted in known.items()}


def levels(workloads: Iterable[Workload]) -> list[list[str]]:
    """The names in groups: each group needs nothing but the groups before it."""
    waiting = dependencies(workloads)
    done: set[str] = set()
    groups: list[list[str]] = []
    while len(done) < len(waiting):
        group = [name for name, needs in waiting.items() if name not in done and needs <= done]
        groups.append(group)
        done.update(group)
    return groups


def _reachable(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        for name in edges[todo.pop()] - found:
            found.add(name)
            todo.append(name)
    return found
