# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Amounts as Kubernetes itself writes them: a live object then holds what was sent, letter by letter.

The canonical form has no fraction and the largest suffix that allows it (apimachinery, pkg/api/resource/quantity.go).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..model import Amounts, Resources

GPU = "nvidia.com/gpu"
# What a container asks for where it has a limit alone: else the API server would reserve all of the limit.
LEAST_CPU = 0.05
LEAST_MEMORY = 32 * 2**20
_DECIMAL = ("", "k", "M", "G", "T", "P", "E")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def size(amount: int) -> str:
    """Bytes."""
    if amount % 1024 == 0:
        return _shortest(amount, 1024, _BINARY)
    return number(amount)


def number(amount: int) -> str:
    return _shortest(amount, 1000, _DECIMAL)


def cores(amount: float) -> str:
    """Cores, to the next thousandth: nothing finer is taken."""
    thousandths = max(1, math.ceil(round(amount * 1000, 6)))
    return f"{thousandths}m" if thousandths % 1000 else number(thousandths // 1000)


def resources(wanted: Resources) -> dict[str, dict[str, str]]:
    requests, limits = wanted.requests, wanted.limits
    cpu, memory = requests.cpu, requests.memory
    if cpu is None and limits.cpu is not None:
        cpu = min(limits.cpu, LEAST_CPU)
    if memory is None and limits.memory is not None:
        memory = min(limits.memory, LEAST_MEMORY)
    whole = {**({GPU: wanted.gpu} if wanted.gpu else {}), **wanted.generic}
    found = {
        "limits": _amounts(limits, whole),
        "requests": _amounts(Amounts(cpu=cpu, memory=memory), whole),
    }
    return {name: amounts for name, amounts in found.items() if amounts}


def _amounts(amounts: Amounts, whole: Mapping[str, int]) -> dict[str, str]:
    found = {}
    if amounts.cpu is not None:
        found["cpu"] = cores(amounts.cpu)
    if amounts.memory is not None:
        found["memory"] = size(amounts.memory)
    return found | {name: number(count) for name, count in sorted(whole.items())}


def _shortest(amount: int, base: int, suffixes: Sequence[str]) -> str:
    power = 0
    while amount and amount % base == 0 and power < len(suffixes) - 1:
        amount //= base
        power += 1
    return f"{amount}{suffixes[power]}"
