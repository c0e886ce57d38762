# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the MLflow modules share: options of the connection, and the one place where an error becomes a result."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, env_fallback

from .._errors import InputError, RequestError
from .._http import HttpClient
from .client import MlflowClient, explain

Work = Callable[[AnsibleModule, MlflowClient], dict[str, Any]]


def connection_options() -> dict[str, Any]:
    """The options of the documentation fragment ``mlops.onprem.mlflow``."""
    return {
        "tracking_uri": {"type": "str", "required": True, "fallback": (env_fallback, ["MLFLOW_TRACKING_URI"])},
        "username": {"type": "str", "fallback": (env_fallback, ["MLFLOW_TRACKING_USERNAME"])},
        "password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["MLFLOW_TRACKING_PASSWORD"])},
        "ca_path": {"type": "path", "fallback": (env_fallback, ["MLFLOW_TRACKING_SERVER_CERT_PATH"])},
        "validate_certs": {"type": "bool", "default": True},
        "timeout": {"type": "float", "default": 30},
        "host_header": {"type": "str"},
        "unreachable_in_check": {"type": "str", "choices": ["fail", "ignore"], "default": "fail"},
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
    """A module's whole main: read its options beside those of the connection, do its work, and end it.

    :param unknown: the result in check mode where no server answers and the user allows that.
    :param rules: what AnsibleModule takes about options that exclude or need each other.
    """
    module = AnsibleModule(argument_spec={**connection_options(), **options}, supports_check_mode=True, **rules)
    signal.signal(signal.SIGTERM, _terminated)
    nothing_yet = module.check_mode and module.params["unreachable_in_check"] == "ignore"
    params = dict(module.params)
    if nothing_yet and params["ca_path"] and not Path(params["ca_path"]).exists():
        params["ca_path"] = None  # the playbook has yet to make it
    try:
        client = client_for(params)
        try:
            result = work(module, client)
        finally:
            client.http.close()
    except InputError as error:
        module.fail_json(msg=str(error))
    except RequestError as error:
        if nothing_yet and error.unreachable:
            module.exit_json(reachable=False, msg=f"No MLflow answers yet: {error}", **unknown(module))
        module.fail_json(msg=str(error), request=error.facts())
    module.exit_json(reachable=True, **result)


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    # What was begun is undone on the way out.
    raise SystemExit(128 + number)
