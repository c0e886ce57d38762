# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a namespace's quotas have room for what a run adds: sums over Pods and objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .kinds import kind_named
from .state import replicas

_SUFFIXES = {
    **{suffix: Fraction(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    "m": Fraction(1, 1000),
    "u": Fraction(1, 10**6),
    "n": Fraction(1, 10**9),
}
Amounts = dict[str, Fraction]


def quantity(text: Any) -> Fraction:
    """A number as Kubernetes writes it: 250m, 64Mi, 1e3."""
    word = str(text)
    for suffix, factor in _SUFFIXES.items():
        if word.endswith(suffix):
            return Fraction(word.removesuffix(suffix)) * factor
    return Fraction(word)


@dataclass
class Need:
    """What must be free in the end (``steady``), and beside it for a moment: the largest new version that starts
    beside its old one, or job."""

    steady: Amounts = field(default_factory=dict)
    moments: list[Amounts] = field(default_factory=list)

    @property
    def any(self) -> bool:
        return bool(self.steady or self.moments)

    def add(self, live: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
        """A controller: as it is, and as it will be."""
        pod = pod_amounts(wanted["spec"]["template"]["spec"])
        if wanted["kind"] == "Job":
            self.moments.append(pod)
            return
        _plus(self.steady, pod, replicas(wanted))
        if live is not None:
            _plus(self.steady, pod_amounts(live["spec"]["template"]["spec"]), -replicas(live))
            surge = ((wanted["spec"].get("strategy") or {}).get("rollingUpdate") or {}).get("maxSurge")
            if surge and live["spec"]["template"] != wanted["spec"]["template"] and replicas(live):
                self.moments.append(pod)

    def of(self, name: str) -> Fraction:
        return self.steady.get(name, Fraction(0)) + max(
            (moment.get(name, Fraction(0)) for moment in self.moments), default=Fraction(0)
        )


def need_of(thing: Mapping[str, Any], need: Need) -> None:
    """A new object, as quotas count objects."""
    kind = kind_named(thing["kind"])
    suffix = f".{kind.group}" if kind.group else ""
    found = {f"count/{kind.plural}{suffix}": Fraction(1)}
    if not kind.group:
        found[kind.plural] = Fraction(1)
    if thing["kind"] == "PersistentVolumeClaim":
        requests = thing["spec"]["resources"]["requests"]
        found["requests.storage"] = quantity(requests["storage"])
    if thing["kind"] == "Service":
        kinds = {"NodePort": "services.nodeports", "LoadBalancer": "services.loadbalancers"}
        if thing["spec"].get("type") in kinds:
            found[kinds[thing["spec"]["type"]]] = Fraction(1)
    _plus(need.steady, found, 1)


def pod_amounts(spec: Mapping[str, Any]) -> Amounts:
    """What a Pod counts for. A limit without a request is its own request."""
    found: Amounts = {"pods": Fraction(1), "count/pods": Fraction(1)}
    for container in spec.get("containers") or []:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name, amount in {**limits, **requests}.items():
            _plus(found, {f"requests.{name}": quantity(amount)}, 1)
            if name in ("cpu", "memory", "ephemeral-storage"):
                _plus(found, {name: quantity(amount)}, 1)
        for name, amount in limits.items():
            _plus(found, {f"limits.{name}": quantity(amount)}, 1)
    return found


def short_of(quota: Mapping[str, Any], need: Need, going: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """What the quota has too little of. One for certain Pods only isn't judged. ``going``: Pods that are counted, and
    are about to end."""
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    if spec.get("scopes") or spec.get("scopeSelector"):
        return []
    used = status.get("used") or {}
    freed: Amounts = {}
    for pod in going:
        _plus(freed, pod_amounts(pod["spec"]), 1)
    problems = []
    for name, hard in sorted((spec.get("hard") or {}).items()):
        wanted, taken = need.of(name), quantity(used.get(name) or 0)
        if wanted > 0 and taken + wanted - freed.get(name, 0) > quantity(hard):
            meta = quota["metadata"]
            problems.append(
                f"The quota {meta['name']} of the namespace {meta['namespace']} is too small: of {name} it allows "
                f"{hard}, {used.get(name) or 0} are used, and {_text(wanted, name)} more are needed"
            )
    return problems


def _plus(sum_of: Amounts, more: Amounts, times: int) -> None:
    for name, amount in more.items():
        sum_of[name] = sum_of.get(name, Fraction(0)) + amount * times


def _text(amount: Fraction, name: str) -> str:
    if ("memory" in name or "storage" in name) and amount % 2**20 == 0:
        return f"{amount / 2**20}Mi"
    return f"{float(amount):g}"
