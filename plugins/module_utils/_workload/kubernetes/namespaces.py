# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What all sets of a platform share: its namespaces, shut by default, and what its nodes pull with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..rendering import encode
from .network import default_policy
from .site import PULL_SECRET, KubernetesSite, manifest

DOCKER_HUB = "https://index.docker.io/v1/"
_LEVEL = "pod-security.kubernetes.io/"


def namespaces(
    site: KubernetesSite, registry_auth: Mapping[str, str] | None, wanted_edge: bool
) -> list[dict[str, Any]]:
    """In order of application. ``wanted_edge``: whether any workload, of any set, publishes a port of the host."""
    homes = [(site.namespace, "restricted")]
    if wanted_edge and site.entry == "host_port":
        homes.append((site.edge, "privileged"))  # host ports are for no other profile
    found = [_namespace(name, level, site) for name, level in homes]
    for name, _level in homes:
        found.append(default_policy(name, site))
        if registry_auth:
            found.append(_pull_secret(name, registry_auth, site))
    return found


def _namespace(name: str, level: str, site: KubernetesSite) -> dict[str, Any]:
    levels = {_LEVEL + "enforce": level, _LEVEL + "audit": "restricted", _LEVEL + "warn": "restricted"}
    found = manifest("v1", "Namespace", name, "", {**site.common_labels(), **levels})
    del found["metadata"]["namespace"]
    return found


def _pull_secret(namespace: str, auth: Mapping[str, str], site: KubernetesSite) -> dict[str, Any]:
    """For the registry that is named, or else for all that the images come from. Its name stays when the password
    changes: no Pod restarts for it."""
    servers = [auth["server"]] if auth.get("server") else sorted(_registries(site.images.values()))
    entry = {
        "username": auth["username"],
        "password": auth["password"],
        "auth": encode(f"{auth['username']}:{auth['password']}".encode()),
    }
    content = json.dumps({"auths": dict.fromkeys(servers, entry)}, sort_keys=True, separators=(",", ":"))
    return manifest(
        "v1",
        "Secret",
        PULL_SECRET,
        namespace,
        site.common_labels(),
        type="kubernetes.io/dockerconfigjson",
        data={".dockerconfigjson": encode(content.encode())},
    )


def _registries(references: Any) -> set[str]:
    """The part before the first slash is a registry if it looks like a host."""
    found = set()
    for reference in references:
        host, slash, _rest = reference.partition("/")
        named = bool(slash) and ("." in host or ":" in host or host == "localhost")
        found.add(host if named else DOCKER_HUB)
    return found or {DOCKER_HUB}
