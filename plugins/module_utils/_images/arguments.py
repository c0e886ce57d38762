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


def registry_client(registry: Mapping[str, Any], timeout: float = 10.0) -> RegistryClient:
    return RegistryClient(
        address=registry["address"],
        username=registry["username"],
        password=registry["password"],
        ca=registry["ca"],
        timeout=timeout,
    )
