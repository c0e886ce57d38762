# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alert rules in one form, from the options, from either API and to either; pure functions.

A rule is a dictionary with FIELDS; durations as in ``1h30m``, time ranges in seconds, queries sorted by ``ref_id``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._errors import InputError
from .values import duration, paths_that_differ, plain, same, seconds, texts

EXPRESSION = "__expr__"
"""The data source of server-side expressions; they have no time range."""
EXPRESSIONS = frozenset({EXPRESSION, "-100"})
RANGE = {"from": 600, "to": 0}
"""Seconds before now that a query looks at, where nothing is said; the pages begin with the same."""
MODEL = {"intervalMs": 1000, "maxDataPoints": 43200}
"""What Grafana puts into each query's model where it is missing or zero."""
FIELDS = {
    "title": "title",
    "condition": "condition",
    "for": "for",
    "keep_firing_for": "keep_firing_for",
    "no_data_state": "noDataState",
    "exec_err_state": "execErrState",
    "labels": "labels",
    "annotations": "annotations",
    "paused": "isPaused",
    "missing_series_evals_to_resolve": "missingSeriesEvalsToResolve",
    "notification_settings": "notification_settings",
}
"""A rule's parts beside uid and data, and their names in the provisioning API."""
PANEL = ("__dashboardUid__", "__panelId__")
"""The annotations that tie a rule to a panel."""

Rule = dict[str, Any]


def parse(rules: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """The rules as the module's options have them; ``uid`` and ``paused`` are None where they are not given.

    :raises InputError: for what Grafana would refuse, or take for something else.
    """
    made = [_parse_rule(rule, f"rules[{number}]") for number, rule in enumerate(rules)]
    for key in ("title", "uid"):
        seen: set[str] = set()
        for number, rule in enumerate(made):
            if rule[key] in seen:
                raise InputError(f"rules[{number}].{key}: {rule[key]} is given twice")
            seen |= {rule[key]} - {None}
    return made


def _parse_rule(given: Mapping[str, Any], where: str) -> Rule:
    for key in ("title", "condition"):
        if not given[key].strip():
            raise InputError(f"{where}.{key}: must not be empty")
    data = [_parse_query(query, f"{where}.data[{number}]") for number, query in enumerate(given["data"])]
    names = [query["ref_id"] for query in data]
    if len(set(names)) < len(names):
        raise InputError(f"{where}.data: each ref_id must be given once, but they are {', '.join(names)}")
    if given["condition"] not in names:
        raise InputError(f"{where}.condition: {given['condition']} is no ref_id in data, which has {', '.join(names)}")
    return _normal(
        {
            **given,
            "uid": given["uid"] or None,
            "for": duration(f"{where}.for", given["for"]),
            "keep_firing_for": duration(f"{where}.keep_firing_for", given["keep_firing_for"]),
            "labels": texts(f"{where}.labels", given["labels"]),
            "annotations": texts(f"{where}.annotations", given["annotations"]),
            "notification_settings": _settings(f"{where}.notification_settings", given["notification_settings"]),
            "data": data,
        }
    )


def _parse_query(given: Mapping[str, Any], where: str) -> Rule:
    times, source = given["relative_time_range"], given["datasource_uid"]
    if times is None:
        times = {"from": 0, "to": 0} if source in EXPRESSIONS else RANGE
    made = {key: seconds(f"{where}.relative_time_range.{key}", times[key]) for key in ("from", "to")}
    if source not in EXPRESSIONS and made["from"] <= made["to"]:
        raise InputError(f"{where}.relative_time_range: from must be longer ago than to")
    return _query(given["ref_id"], source, given["query_type"], made, given["model"])


def _query(ref_id: str, source: str, kind: str | None, times: Mapping[str, int], model: Mapping[str, Any]) -> Rule:
    """A query as Grafana stores it."""
    whole = plain(model)
    for key, value in MODEL.items():
        if isinstance(whole.get(key), bool) or not isinstance(whole.get(key), (int, float)) or not whole[key]:
            whole[key] = value
    whole.setdefault("refId", ref_id)
    return {
        "ref_id": ref_id,
        "datasource_uid": source,
        "query_type": str(whole.get("queryType", kind or "")),
        "relative_time_range": dict(times),
        "model": whole,
    }


def _settings(where: str, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Notification settings without what is empty, durations in one form."""
    if not given:
        return None
    made = {key: value for key, value in given.items() if value not in (None, "", [])}
    for key in ("group_wait", "group_interval", "repeat_interval"):
        if key in made:
            made[key] = duration(f"{where}.{key}", made[key])
    return made


def _normal(rule: Mapping[str, Any]) -> Rule:
    made = {"uid": rule["uid"], **{key: rule[key] for key in FIELDS}}
    return {**made, "data": sorted(rule["data"], key=lambda query: str(query["ref_id"]))}


def from_provisioning(held: Mapping[str, Any]) -> Rule:
    """A rule as the provisioning API has it."""
    given = {key: held.get(name) for key, name in FIELDS.items()}
    times = {
        query["refId"]: {key: int((query.get("relativeTimeRange") or {}).get(key) or 0) for key in ("from", "to")}
        for query in held.get("data") or []
    }
    return _normal(
        {
            **given,
            "uid": held.get("uid") or None,
            "for": duration("for", given["for"] or 0),
            "keep_firing_for": duration("keep_firing_for", given["keep_firing_for"] or 0),
            "labels": given["labels"] or {},
            "annotations": given["annotations"] or {},
            "paused": bool(given["paused"]),
            "notification_settings": _settings("notification_settings", given["notification_settings"]),
            "data": [
                _query(one["refId"], one["datasourceUid"], one.get("queryType"), times[one["refId"]], one["model"])
                for one in held.get("data") or []
            ],
        }
    )


def to_provisioning(rule: Rule, folder: str, group: str) -> dict[str, Any]:
    """A rule for the provisioning API; what older servers don't know is left out where it says nothing."""
    body = {name: rule[key] for key, name in FIELDS.items()}
    for key, nothing in (
        ("keep_firing_for", "0s"),
        ("notification_settings", None),
        ("missingSeriesEvalsToResolve", None),
    ):
        if body[key] == nothing:
            del body[key]
    data = [
        {
            "refId": query["ref_id"],
            "datasourceUid": query["datasource_uid"],
            "queryType": query["query_type"],
            "relativeTimeRange": query["relative_time_range"],
            "model": query["model"],
        }
        for query in rule["data"]
    ]
    return body | {"uid": rule["uid"] or "", "folderUID": folder, "ruleGroup": group, "data": data}


def from_resource(spec: Mapping[str, Any], name: str) -> Rule:
    """A rule as the successor has it; its name is the rule's uid."""
    expressions = spec.get("expressions") or {}
    settings = {_snake(key): value for key, value in (spec.get("notificationSettings") or {}).items() if key != "type"}
    panel = spec.get("panelRef") or {}
    tied = dict(zip(PANEL, (str(panel.get("dashboardUID")), str(panel.get("panelID"))), strict=True)) if panel else {}
    return _normal(
        {
            "uid": name,
            "title": spec["title"],
            "condition": next((key for key, one in expressions.items() if one.get("source")), ""),
            "for": duration("for", spec.get("for") or 0),
            "keep_firing_for": duration("keepFiringFor", spec.get("keepFiringFor") or 0),
            "no_data_state": _state(spec.get("noDataState") or "NoData"),
            "exec_err_state": _state(spec.get("execErrState") or "Error"),
            "labels": spec.get("labels") or {},
            "annotations": tied | (spec.get("annotations") or {}),
            "paused": bool(spec.get("paused")),
            "missing_series_evals_to_resolve": spec.get("missingSeriesEvalsToResolve"),
            "notification_settings": _settings("notificationSettings", settings),
            "data": [
                _query(
                    key,
                    one.get("datasourceUID") or EXPRESSION,
                    one.get("queryType"),
                    {
                        side: seconds("relativeTimeRange", (one.get("relativeTimeRange") or {}).get(side) or 0)
                        for side in ("from", "to")
                    },
                    one.get("model") or {},
                )
                for key, one in expressions.items()
            ],
        }
    )


def to_resource(rule: Rule, interval: str) -> dict[str, Any]:
    """A rule for the successor, which has the interval in each rule."""
    spec: dict[str, Any] = {
        "title": rule["title"],
        "paused": rule["paused"],
        "trigger": {"interval": interval},
        "noDataState": _state(rule["no_data_state"], resource=True),
        "execErrState": _state(rule["exec_err_state"], resource=True),
        "labels": rule["labels"],
        "annotations": {key: value for key, value in rule["annotations"].items() if key not in PANEL},
        "expressions": {query["ref_id"]: _expression(query, rule["condition"]) for query in rule["data"]},
    }
    if set(PANEL) <= set(rule["annotations"]):
        dashboard, panel = (rule["annotations"][key] for key in PANEL)
        spec["panelRef"] = {"dashboardUID": dashboard, "panelID": int(panel)}
    for key, name in (("for", "for"), ("keep_firing_for", "keepFiringFor")):
        if rule[key] != "0s":
            spec[name] = rule[key]
    if rule["missing_series_evals_to_resolve"] is not None:
        spec["missingSeriesEvalsToResolve"] = rule["missing_series_evals_to_resolve"]
    if rule["notification_settings"]:
        settings = {_camel(key): value for key, value in rule["notification_settings"].items()}
        spec["notificationSettings"] = {"type": "SimplifiedRouting", **settings}
    return spec


def _expression(query: Rule, condition: str) -> dict[str, Any]:
    made: dict[str, Any] = {"model": query["model"], "source": query["ref_id"] == condition}
    if query["query_type"]:
        made["queryType"] = query["query_type"]
    if query["datasource_uid"] not in EXPRESSIONS:
        made["datasourceUID"] = query["datasource_uid"]
        made["relativeTimeRange"] = {key: f"{value}s" for key, value in query["relative_time_range"].items()}
    return made


def _state(value: str, *, resource: bool = False) -> str:
    return {"OK": "Ok"}.get(value, value) if resource else {"Ok": "OK"}.get(value, value)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def planned(wanted: Sequence[Rule], held: Sequence[Rule], *, ordered: bool) -> list[Rule]:
    """The rules as they will be: each that is there keeps its uid, and its pause where nothing is said of it.

    A rule is found by its uid where it is given, else by its title.

    :param ordered: whether the server keeps the order; one that doesn't has the oldest first.
    """
    by_uid = {rule["uid"]: rule for rule in held}
    by_title = {rule["title"]: rule for rule in held}
    made = []
    for rule in wanted:
        found = by_uid.get(rule["uid"]) if rule["uid"] else by_title.get(rule["title"])
        uid = rule["uid"] or (found or {}).get("uid")
        paused = rule["paused"] if rule["paused"] is not None else bool((found or {}).get("paused"))
        made.append({**rule, "uid": uid, "paused": paused})
    if not ordered:
        places = {rule["uid"]: place for place, rule in enumerate(held)}
        made.sort(key=lambda rule: places.get(rule["uid"], len(places)))
    return made


def differences(wanted: Sequence[Rule], found: Sequence[Rule], *, ordered: bool) -> list[str]:
    """Where rules that were written differ from those that were read; given uids count, others are the server's."""
    if not ordered:
        wanted, found = (sorted(some, key=lambda rule: str(rule["title"])) for some in (wanted, found))
    if len(wanted) != len(found):
        return [f"rules: {len(found)} in place of {len(wanted)}"]
    given = [rule if rule["uid"] else {**rule, "uid": other["uid"]} for rule, other in zip(wanted, found, strict=True)]
    return [] if same(given, found) else paths_that_differ(given, found, "rules")
