# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that the image modules share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .registry_client import RegistryClient

REGISTRY: dict[str, Any] = {
    "type": "dict",
    "required": True,
    "options": {
        "address": {"type": "str", "required": True},
        "username": {"type": "str", "default": ""},
        "password": {"type": "str", "default": "", "no_log": True},
        "ca": {"type": "str", "default": ""},
    },
}

_MIRRORS = (
    "ca_bundle",
    "apt_sources",
    "pip_index_url",
    "go_proxy",
    "maven_mirror",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
# Addresses may hold credentials.
_PRIVATE = {"apt_sources", "pip_index_url", "go_proxy", "maven_mirror", "http_proxy", "https_proxy"}
MIRRORS: dict[str, Any] = {
    "type": "dict",
    "default": {},
    "options": {name: {"type": "str", "default": "", "no_log": name in _PRIVATE} for name in _MIRRORS},
}
HOST_CONTAINER: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "mlops"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "cpus": {"type": "float", "default": 2},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def registry_client(registry: Mapping[str, Any], timeout: float = 10.0) -> RegistryClient:
    return RegistryClient(
        address=registry["address"],
        username=registry["username"],
        password=registry["password"],
        ca=registry["ca"],
        timeout=timeout,
    )
