# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Grafana modules share: the options of the connection and of folders, their main and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback

from .._api_module import API_OPTIONS, run_module
from .._errors import InputError
from .._http import HttpClient
from .._outcome import Outcome
from .client import GrafanaClient, explain

Work = Callable[[AnsibleModule, GrafanaClient], dict[str, Any]]

SECRET_OPTIONS = frozenset({"password", "token", "hash_key", "secure_settings", "secure_json_data"})
LOCKED = {"type": "bool", "default": True}
HASH_KEY = {"type": "str", "no_log": True}
FOLDER = {"folder": {"type": "str"}, "folder_uid": {"type": "str"}}
STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}
PRUNED = {"type": "str", "choices": ["present", "absent", "pruned"], "default": "present"}
KEEP = {"type": "list", "elements": "str"}


def connection_options() -> dict[str, Any]:
    """The options of the documentation fragments ``mlops.onprem.api`` and ``mlops.onprem.grafana``."""
    return {
        **API_OPTIONS,
        "grafana_url": {"type": "str", "required": True, "fallback": (env_fallback, ["GRAFANA_URL"])},
        "username": {"type": "str", "fallback": (env_fallback, ["GRAFANA_USERNAME"])},
        "password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["GRAFANA_PASSWORD"])},
        "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["GRAFANA_TOKEN"])},
        "org_id": {"type": "int"},
        "ca_path": {"type": "path", "fallback": (env_fallback, ["GRAFANA_CA_CERT"])},
        "host_header": {"type": "str"},
    }


def client_for(params: dict[str, Any]) -> GrafanaClient:
    """A client made of the options of the connection."""
    org = params["org_id"]
    if org is not None and org < 1:
        raise InputError("org_id: must be 1 or more")
    http = HttpClient(
        params["grafana_url"],
        option="grafana_url",
        username=params["username"],
        password=params["password"],
        token=params["token"],
        headers={} if org is None else {"X-Grafana-Org-Id": str(org)},
        ca_path=params["ca_path"],
        validate_certs=params["validate_certs"],
        timeout=params["timeout"],
        host_header=params["host_header"],
        explain=explain,
    )
    return GrafanaClient(http, org)


def run(
    options: Mapping[str, Any],
    work: Work,
    unknown: Callable[[AnsibleModule], dict[str, Any]],
    *,
    mutually_exclusive: Sequence[Sequence[str]] = (),
    **rules: Any,
) -> None:
    """A module's whole main, see ``run_module``."""
    spec = {**connection_options(), **options}
    exclusive = [("token", "username"), *mutually_exclusive]
    run_module(
        spec, client_for, work, unknown, service="Grafana", secrets=secrets_in, mutually_exclusive=exclusive, **rules
    )


def secrets_in(value: Any, *, secret: bool = False) -> Iterator[str]:
    """The texts of all options that are secret, whatever their form."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from secrets_in(one, secret=secret or key in SECRET_OPTIONS)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from secrets_in(one, secret=secret)
    elif secret and isinstance(value, str) and value:
        yield value


def outcome_result(outcome: Outcome, key: str) -> dict[str, Any]:
    """A module's result, the thing itself under ``key``."""
    return {
        "changed": outcome.changed,
        key: outcome.value,
        "diff": {"before": outcome.before, "after": outcome.after},
    }


def pruned_result(outcome: Outcome, key: str) -> dict[str, Any]:
    """The result of pruning: nothing under ``key``, and the names of what went under ``removed``."""
    return {**outcome_result(outcome, key), key: None, "removed": (outcome.value or {}).get("removed", [])}
