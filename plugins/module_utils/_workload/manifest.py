# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a set would make of the cluster, as documents for review or GitOps: a pure function, through the same rendering
that a backend applies. Values of secrets are not part of it: what mounts them names the objects that hold them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .errors import WorkloadError
from .model import Workload
from .rendering import HINT_LENGTH

Content: TypeAlias = "list[dict[str, Any]] | str"
"""The documents of a YAML file, or a file's text."""


@dataclass(frozen=True)
class Declared:
    """A set as the module ``workload`` takes it. ``kubernetes``: the backend's options."""

    namespace: str
    set_name: str
    workloads: Sequence[Workload]
    domain: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    secret_values: Mapping[str, str] = field(default_factory=dict)
    registry_auth: Mapping[str, str] = field(default_factory=dict)
    kubernetes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SecretObject:
    """An object that must be in the cluster before what mounts it starts. ``keys``: the name of the secret by the key
    that its value goes under."""

    name: str
    keys: dict[str, str]
    used_by: tuple[str, ...]
    namespace: str = ""
    type: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SecretObject:
        return cls(**{**data, "used_by": tuple(data["used_by"])})

    def to_dict(self) -> dict[str, Any]:
        plain = {"name": self.name, "namespace": self.namespace, "type": self.type, "labels": dict(self.labels)}
        return {**{key: value for key, value in plain.items() if value}, "keys": self.keys, "used_by": [*self.used_by]}


@dataclass
class Manifests:
    """``files`` by path below the set's directory. ``secrets`` are told of; ``values`` are the same objects as the
    cluster takes them, with their values, for whoever encrypts them. ``neighbour`` is what the other sets of the
    namespace and the files that all sets share need to know of this one: plain data."""

    files: dict[str, Content] = field(default_factory=dict)
    secrets: list[SecretObject] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list, repr=False)
    neighbour: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, *texts: str) -> None:
        self.notes += [text for text in dict.fromkeys(texts) if text not in self.notes]


def merged(objects: Iterable[SecretObject]) -> list[SecretObject]:
    """Each object once, with all that use it."""
    found: dict[tuple[str, str], SecretObject] = {}
    for item in objects:
        known = found.get((item.namespace, item.name))
        used = {*item.used_by, *(known.used_by if known else ())}
        found[item.namespace, item.name] = SecretObject(
            item.name, item.keys, tuple(sorted(used)), item.namespace, item.type, item.labels
        )
    return [found[key] for key in sorted(found)]


def refuse(problems: Sequence[str]) -> None:
    if problems:
        raise WorkloadError("The workloads can't be rendered", problems=problems)


def leaked(texts: Mapping[str, str], secret_values: Mapping[str, str]) -> list[str]:
    """The files that hold a secret's value, plain or as base64: the last net below the refusals of rendering."""
    problems = []
    for name, value in secret_values.items():
        # A longer text may be indented: its longest line gives it away.
        word = max(value.splitlines(), key=len, default="")
        if len(word) < HINT_LENGTH:
            continue
        coded = base64.b64encode(value.encode()).decode()
        problems += [
            f"{file}: holds the value of the secret {name}: give it as a secret file"
            for file, text in texts.items()
            if word in text or coded in text
        ]
    return problems
