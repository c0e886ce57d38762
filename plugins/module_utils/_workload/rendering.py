# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What every target's rendering has in common: where a set goes, what routes and secrets mean, what is refused."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .model import HttpCheck, Probe, Route, SecretFile, Workload, canonical

NO_SALT = "blank"  # where there is nothing yet that has one
HINT_LENGTH = 8  # a secret shorter than this would be "found" in harmless words


@dataclass(frozen=True)
class Place:
    """Where a set goes. ``salt`` keeps the hashes of secrets from being the same everywhere; ``images`` are references
    that every node can start by."""

    namespace: str
    set_name: str
    domain: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    secret_values: Mapping[str, str] = field(default_factory=dict)
    zone_of: Mapping[str, str | None] = field(default_factory=dict)
    salt: str = ""
    lenient: bool = False  # check mode: what a step before would have made may be missing


def image_reference(workload: Workload, place: Place, problems: list[str], at: str) -> str:
    image = place.images.get(workload.image)
    if image is None and place.lenient:
        return f"{workload.image}:not-built-yet"
    if image is None:
        problems.append(f"{at}.image: there is no image {workload.image!r} (known: {', '.join(sorted(place.images))})")
    return image or ""


def secret_contents(
    workload: Workload, place: Place, problems: list[str], at: str
) -> Iterator[tuple[int, SecretFile, str, str]]:
    """Index, file, value and hash of each secret that there is a value for; the others become problems."""
    for index, secret in enumerate(workload.secrets):
        value = place.secret_values.get(secret.name)
        if value is None and place.lenient:
            value = ""
        if value is None:
            problems.append(f"{at}.secrets[{index}].name: there is no value for the secret {secret.name!r}")
            continue
        salt = canonical([place.salt, place.namespace, place.set_name, secret.name])
        yield index, secret, value, secret_hash(value, salt)


def secret_hash(value: str, salt: str) -> str:
    """Slow on purpose: the hash is in the object's name, and a weak password must not be found from it."""
    return _scrypt(value, salt)


@functools.lru_cache(maxsize=4096)
def _scrypt(value: str, salt: str) -> str:
    return hashlib.scrypt(value.encode(), salt=salt.encode(), n=2**12, r=8, p=1, dklen=8).hex()


def unknown_peers(declared: Iterable[Workload], zone_of: Mapping[str, str | None]) -> list[str]:
    """The problem of each workload that connects to one that is nowhere."""
    known = ", ".join(sorted(zone_of))
    return [
        f"{item.name}.connects: there is no workload {name!r} (known: {known})"
        for workload in declared
        for item in (workload, *workload.jobs)
        for name in item.connects
        if name not in zone_of
    ]


def routes(workload: Workload, domain: str) -> list[dict[str, Any]]:
    """The routes as the gateway wants them: full host, port number, and how to ask whether a task is ready."""
    readiness = workload.probes.readiness or workload.probes.liveness
    check = _ready_check(workload, readiness, readiness.http) if readiness and readiness.http else None
    return [{**_route(workload, route, domain), "readiness": check} for route in workload.routes]


def metrics(workload: Workload) -> dict[str, Any] | None:
    if workload.metrics is None:
        return None
    return {"port": workload.port_number(workload.metrics.port), "path": workload.metrics.path}


def _route(workload: Workload, route: Route, domain: str) -> dict[str, Any]:
    return {
        "name": route.name,
        "host": route.full_host(domain),
        "path": route.path,
        "headers": dict(route.headers),
        "port": workload.port_number(route.port),
        "scheme": route.scheme,
        "strip_path": route.strip_path,
        "priority": route.priority,
    }


def _ready_check(workload: Workload, probe: Probe, check: HttpCheck) -> dict[str, Any]:
    return {
        "path": check.path,
        "port": workload.port_number(check.port),
        "headers": dict(check.headers),
        "timeout": probe.timeout,
    }


def refuse_plain_secrets(workload: Workload, place: Place, problems: list[str], at: str) -> None:
    """A secret's value belongs into a secret file, and nowhere that an inspection shows."""
    values = {name: value for name, value in place.secret_values.items() if len(value) >= HINT_LENGTH}
    places = [(f"env.{name}", value) for name, value in workload.env.items()]
    places += [(f"command[{index}]", value) for index, value in enumerate(workload.command)]
    places += [(f"args[{index}]", value) for index, value in enumerate(workload.args)]
    places += [(f"labels.{name}", value) for name, value in workload.labels.items()]
    places += [(f"configs[{index}].content", config.content) for index, config in enumerate(workload.configs)]
    for probe in ("startup", "liveness", "readiness"):
        found = getattr(workload.probes, probe)
        if found is not None:
            words = [*found.command, *(found.http.headers.values() if found.http else ())]
            places += [(f"probes.{probe}", word) for word in words]
    for where, text in places:
        for name, value in values.items():
            if value in text:
                problems.append(f"{at}.{where}: holds the value of the secret {name}: give it as a secret file")


def encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


def decode(content: str | None) -> str:
    return base64.b64decode(content or "").decode("utf-8", "replace")


def parse_label(text: str | None) -> Any:
    """The data in a label; None for what somebody has spoilt."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None
