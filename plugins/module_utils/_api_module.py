# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole main of a module that speaks to one API, and the one place where an error becomes a result."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol, TypeVar

from ansible.module_utils.basic import AnsibleModule

from ._errors import InputError, RequestError
from ._http import HttpClient


class Client(Protocol):
    """Any API's client."""

    http: HttpClient


C = TypeVar("C", bound=Client)

API_OPTIONS: Mapping[str, Any] = {
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "float", "default": 30},
    "unreachable_in_check": {"type": "str", "choices": ["fail", "ignore"], "default": "fail"},
}
"""The options of the documentation fragment ``mlops.onprem.api``."""


class _Module(AnsibleModule):  # type: ignore[misc]  # Ansible has no types
    """Ansible takes the secrets out of all that leaves the module, its line in the system's log included."""

    def __init__(self, secrets: Callable[[Any], Iterable[str]], **options: Any) -> None:
        self._secrets = secrets
        super().__init__(**options)

    # The one place between the options' arrival and the first thing that may show them: a wrong option, or the log.
    def _load_params(self) -> None:
        super()._load_params()
        self.no_log_values.update(self._secrets(self.params))


def run_module(
    options: Mapping[str, Any],
    connect: Callable[[dict[str, Any]], C],
    work: Callable[[AnsibleModule, C], dict[str, Any]],
    unknown: Callable[[AnsibleModule], dict[str, Any]],
    *,
    service: str,
    secrets: Callable[[Any], Iterable[str]] = lambda _: (),
    **rules: Any,
) -> None:
    """Read the options, do the work, and end the module.

    :param options: all options, with ``ca_path`` and ``unreachable_in_check`` among them.
    :param connect: makes the client from the options.
    :param unknown: the result in check mode where no server answers and the user allows that.
    :param service: what the server is called in messages.
    :param secrets: finds texts among the options that are never shown, beside those of options with ``no_log``.
    :param rules: what AnsibleModule takes about options that exclude or need each other.
    """
    module = _Module(secrets, argument_spec=dict(options), supports_check_mode=True, **rules)
    signal.signal(signal.SIGTERM, _terminated)
    nothing_yet = module.check_mode and module.params["unreachable_in_check"] == "ignore"
    params = dict(module.params)
    if nothing_yet and params["ca_path"] and not Path(params["ca_path"]).exists():
        params["ca_path"] = None  # the playbook has yet to make it
    try:
        try:
            client = connect(params)
            try:
                result = {"reachable": True, **work(module, client)}
            finally:
                client.http.close()
        except RequestError as error:
            if not (nothing_yet and error.unreachable):
                raise
            result = {"reachable": False, "msg": f"No {service} answers yet: {error}", **unknown(module)}
    except InputError as error:
        module.fail_json(msg=str(error))
    except RequestError as error:
        module.fail_json(msg=str(error), request=error.facts())
    module.exit_json(**result)


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    # What was begun is undone on the way out.
    raise SystemExit(128 + number)
