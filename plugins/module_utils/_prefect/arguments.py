# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Prefect modules share: the options of the connection, their main and their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback

from .._api_module import API_OPTIONS, run_module
from .._errors import InputError
from .._http import HttpClient
from .._outcome import Outcome
from .client import PrefectClient, busy, explain
from .comparison import masked, secrets_in

Work = Callable[[AnsibleModule, PrefectClient], dict[str, Any]]


def connection_options() -> dict[str, Any]:
    """The options of the documentation fragments ``mlops.onprem.api`` and ``mlops.onprem.prefect``."""
    return {
        **API_OPTIONS,
        "api_url": {"type": "str", "required": True, "fallback": (env_fallback, ["PREFECT_API_URL"])},
        "auth_string": {"type": "str", "no_log": True, "fallback": (env_fallback, ["PREFECT_API_AUTH_STRING"])},
        "ca_path": {"type": "path", "fallback": (env_fallback, ["PREFECT_API_SSL_CERT_FILE"])},
        "host_header": {"type": "str"},
    }


def client_for(params: dict[str, Any]) -> PrefectClient:
    """A client made of the options of the connection."""
    user, colon, password = (params["auth_string"] or "").partition(":")
    if user and not colon:
        raise InputError("auth_string: must have the form user:password, as the server's setting has it")
    return PrefectClient(
        HttpClient(
            params["api_url"],
            option="api_url",
            username=user if colon else None,
            password=password,
            ca_path=params["ca_path"],
            validate_certs=params["validate_certs"],
            timeout=params["timeout"],
            host_header=params["host_header"],
            explain=explain,
            nothing_done=busy,
        )
    )


def run(
    options: Mapping[str, Any], work: Work, unknown: Callable[[AnsibleModule], dict[str, Any]], **rules: Any
) -> None:
    """A module's whole main, see ``run_module``."""
    spec = {**connection_options(), **options}
    run_module(spec, client_for, work, unknown, service="Prefect", secrets=secrets_in, **rules)


def outcome_result(outcome: Outcome, key: str) -> dict[str, Any]:
    """A module's result, the thing itself under ``key``."""
    return {
        "changed": outcome.changed,
        key: masked(outcome.value),
        "diff": {"before": masked(outcome.before), "after": masked(outcome.after, outcome.before)},
    }
