# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the MLflow modules share: the options of the connection, and their main."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback

from .._api_module import API_OPTIONS, run_module
from .._http import HttpClient
from .client import MlflowClient, explain

Work = Callable[[AnsibleModule, MlflowClient], dict[str, Any]]


def connection_options() -> dict[str, Any]:
    """The options of the documentation fragments ``mlops.onprem.api`` and ``mlops.onprem.mlflow``."""
    return {
        **API_OPTIONS,
        "tracking_uri": {"type": "str", "required": True, "fallback": (env_fallback, ["MLFLOW_TRACKING_URI"])},
        "username": {"type": "str", "fallback": (env_fallback, ["MLFLOW_TRACKING_USERNAME"])},
        "password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["MLFLOW_TRACKING_PASSWORD"])},
        "ca_path": {"type": "path", "fallback": (env_fallback, ["MLFLOW_TRACKING_SERVER_CERT_PATH"])},
        "host_header": {"type": "str"},
    }


def client_for(params: dict[str, Any], **instead: Any) -> MlflowClient:
    """A client made of the options of the connection."""
    given = {
        key: params[key] for key in ("username", "password", "ca_path", "validate_certs", "timeout", "host_header")
    }
    return MlflowClient(HttpClient(params["tracking_uri"], option="tracking_uri", explain=explain, **(given | instead)))


def run(
    options: Mapping[str, Any], work: Work, unknown: Callable[[AnsibleModule], dict[str, Any]], **rules: Any
) -> None:
    """A module's whole main, see ``run_module``."""
    run_module({**connection_options(), **options}, client_for, work, unknown, service="MLflow", **rules)
