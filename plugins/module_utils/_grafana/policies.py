# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree of notification policies: in one form, from the options, from either API and to either; pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._errors import InputError
from .values import duration

TIMINGS = ("group_wait", "group_interval", "repeat_interval")
NAMES = ("group_by", "mute_time_intervals", "active_time_intervals")
KEYS = frozenset({"receiver", "matchers", "continue", "routes", *TIMINGS, *NAMES})
OPERATORS = ("=", "!=", "=~", "!~")
MATCHER = re.compile(r"\s*([^=!~\s]+)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)

Policy = dict[str, Any]
"""What KEYS name, where it says something; matchers as lists of label, operator and value, sorted."""


def parse(params: Mapping[str, Any]) -> Policy:
    """The tree as the module's options have it.

    :raises InputError: for what Grafana would refuse.
    """
    given = {key: params[key] for key in ("receiver", "group_by", "routes", *TIMINGS)}
    if not given["receiver"]:
        raise InputError("receiver: the tree needs the contact point that gets what no route takes")
    return inherited(_parse(given, ""))


def inherited(policy: Policy, receiver: str = "") -> Policy:
    """The tree with a contact point in each route, taken over from above where it has none: Grafana 10 asks for it."""
    own = policy.get("receiver", receiver)
    routes = [inherited(route, own) for route in policy.get("routes", [])]
    return policy | ({"receiver": own} if own else {}) | ({"routes": routes} if routes else {})


def _parse(given: Mapping[str, Any], where: str) -> Policy:
    unknown = sorted(set(map(str, given)) - KEYS)
    if unknown:
        raise InputError(f"{where}{unknown[0]}: a route has none of that name, but {', '.join(sorted(KEYS))}")
    made: Policy = {}
    if given.get("receiver"):
        made["receiver"] = str(given["receiver"])
    for key in TIMINGS:
        if given.get(key) is not None:
            made[key] = duration(f"{where}{key}", given[key])
            if made[key] == "0s" and key != "group_wait":
                raise InputError(f"{where}{key}: must be above 0")
    for key in NAMES:
        if given.get(key):
            made[key] = sorted(map(str, _list(f"{where}{key}", given[key])))
            if len(set(made[key])) < len(made[key]):
                raise InputError(f"{where}{key}: each must be given once")
    matchers = [
        _matcher(f"{where}matchers[{number}]", one)
        for number, one in enumerate(_list(f"{where}matchers", given.get("matchers") or []))
    ]
    if matchers:
        made["matchers"] = sorted(matchers)
    if given.get("continue") not in (None, False, True):
        raise InputError(f"{where}continue: must be true or false")
    if given.get("continue"):
        made["continue"] = True
    routes = _list(f"{where}routes", given.get("routes") or [])
    for number, route in enumerate(routes):
        if not isinstance(route, Mapping):
            raise InputError(f"{where}routes[{number}]: must be a dictionary")
    if routes:
        made["routes"] = [_parse(route, f"{where}routes[{number}].") for number, route in enumerate(routes)]
    return made


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where}: must be a list")
    return value


def _matcher(where: str, given: Any) -> list[str]:
    """A matcher such as ``severity=critical``, or its three parts in a list or a dictionary."""
    parts: list[Any] = []
    if isinstance(given, str):
        found = MATCHER.fullmatch(given)
        parts = list(found.groups()) if found else []
        if parts and len(parts[2]) > 1 and parts[2][0] == parts[2][-1] == '"':
            parts[2] = parts[2][1:-1]
    elif isinstance(given, Mapping):
        parts = [given.get(key) for key in ("label", "operator", "value")]
    elif isinstance(given, list):
        parts = given
    if len(parts) != 3 or not parts[0] or parts[1] not in OPERATORS or parts[2] is None:
        raise InputError(f"{where}: must be such as 'severity=critical', with one of {' '.join(OPERATORS)}")
    return [str(part) for part in parts]


def from_provisioning(held: Mapping[str, Any]) -> Policy:
    """A tree as the provisioning API has it, deprecated forms of matchers included."""
    return inherited(_from_provisioning(held))


def _from_provisioning(held: Mapping[str, Any]) -> Policy:
    given = {key: held.get(key) for key in ("receiver", "continue", *TIMINGS, *NAMES)}
    matchers: list[Any] = [*(held.get("object_matchers") or []), *(held.get("matchers") or [])]
    matchers += [[label, "=", value] for label, value in (held.get("match") or {}).items()]
    matchers += [[label, "=~", value] for label, value in (held.get("match_re") or {}).items()]
    routes = [_from_provisioning(route) for route in held.get("routes") or []]
    return _parse({**given, "matchers": matchers}, "") | ({"routes": routes} if routes else {})


def to_provisioning(policy: Policy) -> dict[str, Any]:
    """A tree for the provisioning API."""
    body = {key: value for key, value in policy.items() if key not in ("matchers", "routes")}
    if "matchers" in policy:
        body["object_matchers"] = policy["matchers"]
    return body | {"routes": [to_provisioning(route) for route in policy.get("routes", [])]}


def from_resource(spec: Mapping[str, Any]) -> Policy:
    """A tree as the successor has it."""
    return from_provisioning({**(spec.get("defaults") or {}), "routes": _flat(spec.get("routes") or [])})


def _flat(routes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **route,
            "matchers": [[one["label"], one["type"], one["value"]] for one in route.get("matchers") or []],
            "routes": _flat(route.get("routes") or []),
        }
        for route in routes
    ]


def to_resource(policy: Policy) -> dict[str, Any]:
    """A tree for the successor."""
    defaults = {key: policy[key] for key in ("receiver", "group_by", *TIMINGS) if key in policy}
    return {"defaults": defaults, "routes": [_resource_route(route) for route in policy.get("routes", [])]}


def _resource_route(policy: Policy) -> dict[str, Any]:
    matchers = [dict(zip(("label", "type", "value"), one, strict=True)) for one in policy.get("matchers", [])]
    routes = [_resource_route(route) for route in policy.get("routes", [])]
    return {**policy, "matchers": matchers, "continue": policy.get("continue", False), "routes": routes}


def receivers_in(policy: Policy) -> Iterator[str]:
    """The contact points that a tree names."""
    if "receiver" in policy:
        yield policy["receiver"]
    for route in policy.get("routes", []):
        yield from receivers_in(route)
