# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that makes the agent's tokens file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def agent_tokens(clients: Any, secret_values: Any) -> str:
    """The file of clients and their rights; it holds the tokens' hashes, not the tokens."""
    if not isinstance(clients, Mapping) or not isinstance(secret_values, Mapping):
        raise AnsibleFilterError("mlops.onprem.agent_tokens takes a mapping of clients and one of secret values")
    found = {}
    for name, rights in clients.items():
        token = secret_values.get(f"agent_token_{name}")
        if not token:
            raise AnsibleFilterError(
                f"agent_clients.{name}: there is no secret agent_token_{name}: "
                "add it to secrets_extra, or set it in mlops_secrets"
            )
        found[str(name)] = {**(rights or {}), "token_sha256": hashlib.sha256(str(token).encode()).hexdigest()}
    return json.dumps(found, sort_keys=True)


class FilterModule:
    """Filters about the agent."""

    def filters(self) -> dict[str, Any]:
        return {"agent_tokens": agent_tokens}
