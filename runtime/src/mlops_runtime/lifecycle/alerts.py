# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Webhooks of Grafana's unified alerting and of Alertmanager, which share their shape; and what Prometheus posts.

https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
https://prometheus.io/docs/alerting/latest/alerts_api/
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard

from _model_spec import PURPOSE_LABEL, RETRAINING

MAX_ALERTS: Final = 500
_SUMMARY: Final = 500
_FINGERPRINT: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2199
_NO_OBSERVATION: Final = ("DatasourceNoData", "DatasourceError")
"""Grafana's own alerts: the rule couldn't be asked, so nothing is known of the model."""


class MalformedError(ValueError):
    """A body that is no webhook of either kind; the message says where."""


@dataclass(frozen=True)
class Alert:
    """One alert of a model. `version` is empty where its labels don't name one."""

    model: str
    version: str
    fingerprint: str
    name: str
    summary: str
    labels: Mapping[str, str]
    firing: bool
    began_at: datetime


@dataclass(frozen=True)
class Unusable:
    """An alert that can't be one of a model's, and why."""

    name: str
    problem: str


def read(document: Any) -> list[Alert | Unusable]:
    """The alerts of a webhook's body. Raises MalformedError."""
    if not isinstance(document, dict):
        raise MalformedError("the body must be an object")
    alerts = document.get("alerts")
    if not isinstance(alerts, list) or not alerts:
        raise MalformedError("alerts: must be a list of at least one alert")
    if len(alerts) > MAX_ALERTS:
        raise MalformedError(f"alerts: has {len(alerts)} of them, and {MAX_ALERTS} are taken at once")
    return [_read(item, f"alerts[{index}]") for index, item in enumerate(alerts)]


def read_posted(document: Any, now: datetime | None = None) -> list[Alert | Unusable]:
    """What Prometheus posts to an Alertmanager: a list of alerts, each firing until the time it says. Those that aren't
    about retraining, by their label `purpose`, are left out. Raises MalformedError."""
    if not isinstance(document, list):
        raise MalformedError("the body must be a list of alerts")
    if len(document) > MAX_ALERTS:
        raise MalformedError(f"has {len(document)} alerts, and {MAX_ALERTS} are taken at once")
    now = now or datetime.now(UTC)
    found = []
    for index, item in enumerate(document):
        path = f"[{index}]"
        if not isinstance(item, dict):
            raise MalformedError(f"{path}: must be an object")
        if _texts(item, "labels", path).get(PURPOSE_LABEL) != RETRAINING:
            continue
        over = item.get("endsAt") is not None and _time(item["endsAt"], f"{path}.endsAt") <= now
        found.append(_read({**item, "status": "resolved" if over else "firing"}, path))
    return found


def _read(item: Any, path: str) -> Alert | Unusable:
    if not isinstance(item, dict):
        raise MalformedError(f"{path}: must be an object")
    status = item.get("status")
    if status not in ("firing", "resolved"):
        raise MalformedError(f"{path}.status: {status!r:.60} is neither firing nor resolved")
    labels, annotations = _texts(item, "labels", path), _texts(item, "annotations", path)
    began_at = _time(item.get("startsAt"), f"{path}.startsAt")
    name = labels.get("alertname", "")
    if name in _NO_OBSERVATION:
        return Unusable(name, f"{labels.get('rulename', 'its rule')} couldn't be asked: {name}")
    model = labels.get("model", "")
    if not model:
        return Unusable(name, "has no label model: whom is it about?")
    fingerprint = item.get("fingerprint")
    return Alert(
        model=model,
        version=labels.get("version", ""),
        fingerprint=fingerprint
        if isinstance(fingerprint, str) and _FINGERPRINT.fullmatch(fingerprint)
        else _fingerprint(labels),
        name=name,
        summary=(annotations.get("summary") or annotations.get("description") or "")[:_SUMMARY],
        labels=labels,
        firing=status == "firing",
        began_at=began_at,
    )


def is_text(value: Any) -> TypeGuard[str]:
    """Whether the ledger can keep it: JSON may hold NUL and halves of characters, PostgreSQL's texts don't."""
    return isinstance(value, str) and "\0" not in value and value == value.encode("utf-8", "replace").decode()


def _texts(item: Mapping[str, Any], key: str, path: str) -> dict[str, str]:
    found = item.get(key) or {}
    if not isinstance(found, dict) or not all(is_text(text) for pair in found.items() for text in pair):
        raise MalformedError(f"{path}.{key}: must be an object of texts")
    return found


def _time(value: Any, path: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        found = None
    if found is None or found.tzinfo is None:
        raise MalformedError(f"{path}: {value!r:.60} is no time of RFC 3339")
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise MalformedError(f"{path}: {value!r:.60} is no time of these years")
    return found


def _fingerprint(labels: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]
