# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation may do on a cluster, against what it has to.

One SelfSubjectRulesReview tells all rights in a namespace; SelfSubjectAccessReviews are asked for what lies in no
namespace, and where an authorizer doesn't list its rules (authorization.k8s.io/v1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._workload.kubernetes.access import AGENT_RULES, RBAC
from .._workload.kubernetes.kinds import Kind

_API = "authorization.k8s.io/v1"
ACCESS = Kind("SelfSubjectAccessReview", _API, "selfsubjectaccessreviews", namespaced=False)
RULES = Kind("SelfSubjectRulesReview", _API, "selfsubjectrulesreviews", namespaced=False)

#: Beyond what the agent may, whose role nobody can make who hasn't its rights.
_MORE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "persistentvolumeclaims", ("delete",)),
    (RBAC, "roles", ("create", "patch", "delete", "watch")),
    (RBAC, "rolebindings", ("create", "patch", "delete", "watch")),
)
_NAMESPACE_VERBS = ("create", "delete", "get", "patch")


@dataclass(frozen=True, order=True)
class Right:
    """``namespace`` is empty for what lies in none; ``name`` narrows it to one object."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str = ""

    @property
    def full_resource(self) -> str:
        plain, slash, part = self.resource.partition("/")
        return plain + (f".{self.group}" if self.group else "") + slash + part


def needed(namespaces: Sequence[str], *, manage_namespaces: bool) -> list[Right]:
    """What applying, observing and removing take."""
    found = set()
    for namespace in namespaces:
        for rule in AGENT_RULES:
            for group in rule["apiGroups"]:
                found |= {Right(namespace, group, thing, verb) for thing in rule["resources"] for verb in rule["verbs"]}
        for group, thing, verbs in _MORE:
            found |= {Right(namespace, group, thing, verb) for verb in verbs}
        for verb in _NAMESPACE_VERBS if manage_namespaces else ("get",):
            found.add(Right("", "", "namespaces", verb, "" if verb == "create" else namespace))
    return sorted(found)


def attributes(right: Right) -> dict[str, str]:
    """As an access review asks for it."""
    resource, dummy, part = right.resource.partition("/")
    found = {"verb": right.verb, "group": right.group, "resource": resource, "subresource": part}
    found |= {"namespace": right.namespace, "name": right.name}
    return {key: value for key, value in found.items() if value}


def granted(right: Right, rules: Iterable[Mapping[str, Any]]) -> bool:
    """As the API server's own RBAC matches (plugin/pkg/auth/authorizer/rbac)."""
    return any(_allows(rule, right) for rule in rules)


def _allows(rule: Mapping[str, Any], right: Right) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        _among(right.verb, rule.get("verbs") or ())
        and _among(right.group, rule.get("apiGroups") or ())
        and _names_resource(right.resource, rule.get("resources") or ())
        and (not names or right.name in names)
    )


def _among(wanted: str, given: Sequence[str]) -> bool:
    return "*" in given or wanted in given


def _names_resource(wanted: str, given: Sequence[str]) -> bool:
    part = wanted.partition("/")[2]
    return _among(wanted, given) or (bool(part) and f"*/{part}" in given)


def in_words(missing: Iterable[Right]) -> list[str]:
    """One line a namespace: every verb and resource, the verbs of a resource together."""
    places: dict[str, dict[str, list[str]]] = {}
    for right in sorted(missing):
        thing = right.full_resource + (f" {right.name}" if right.name else "")
        places.setdefault(right.namespace, {}).setdefault(thing, []).append(right.verb)
    lines = []
    for namespace, things in places.items():
        where = f"in the namespace {namespace}" if namespace else "in the whole cluster"
        lines.append(f"{where}: " + "; ".join(f"{', '.join(verbs)} {thing}" for thing, verbs in things.items()))
    return lines
