# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Webhooks of both senders, as their documentation shows them, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_runtime.lifecycle.alerts import MAX_ALERTS, Alert, MalformedError, Unusable, read, read_posted

ALERTMANAGER: dict[str, Any] = {
    "version": "4",
    "groupKey": '{}:{alertname="Drift"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "lifecycle",
    "groupLabels": {"alertname": "Drift"},
    "commonLabels": {"alertname": "Drift", "model": "fraud"},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "Drift", "model": "fraud", "version": "3", "detector": "ewma"},
            "annotations": {"description": "the stream has changed"},
            "startsAt": "2026-11-29T10:00:00.123456789Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph",
            "fingerprint": "d2b4a1f0c0ffee00",
        }
    ],
}
GRAFANA: dict[str, Any] = {
    "receiver": "lifecycle",
    "status": "resolved",
    "orgId": 1,
    "version": "1",
    "title": "[RESOLVED] Drift",
    "state": "ok",
    "message": "",
    "alerts": [
        {
            "status": "resolved",
            "labels": {"alertname": "Drift", "grafana_folder": "models", "model": "fraud", "version": "3"},
            "annotations": {"summary": "fraud drifts", "description": "long"},
            "startsAt": "2026-11-29T11:00:00+01:00",
            "endsAt": "2026-11-29T11:05:00+01:00",
            "values": {"B": 1.5},
            "valueString": "[ var='B' labels={} value=1.5 ]",
            "silenceURL": "http://grafana:3000/alerting/silence/new",
        }
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    return {"alerts": [{**ALERTMANAGER["alerts"][0], **changes}]}


def test_alertmanagers() -> None:
    [alert] = read(ALERTMANAGER)
    assert isinstance(alert, Alert)
    assert (alert.model, alert.version, alert.name, alert.firing) == ("fraud", "3", "Drift", True)
    assert (alert.fingerprint, alert.summary) == ("d2b4a1f0c0ffee00", "the stream has changed")
    assert alert.began_at == datetime(2026, 11, 29, 10, 0, 0, 123456, UTC)


def test_grafanas() -> None:
    [alert] = read(GRAFANA)
    assert isinstance(alert, Alert)
    assert (alert.firing, alert.summary) == (False, "fraud drifts")
    assert alert.began_at == datetime(2026, 11, 29, 10, tzinfo=UTC)
    # Without a fingerprint, the labels are one.
    assert alert.fingerprint and alert.fingerprint == read(GRAFANA)[0].fingerprint  # type: ignore[union-attr]


@pytest.mark.parametrize("fingerprint", [None, "", 3.5, "a\0", "f" * 5000, ["x"]])
def test_a_strange_fingerprint_is_made_anew(fingerprint: Any) -> None:
    [alert] = read(changed(fingerprint=fingerprint))
    assert isinstance(alert, Alert) and len(alert.fingerprint) == 16


def test_an_alert_without_a_version() -> None:
    [alert] = read(changed(labels={"alertname": "Drift", "model": "fraud"}))
    assert isinstance(alert, Alert) and alert.version == ""


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({"alertname": "Disk"}, "has no label model"),
        ({"alertname": "DatasourceNoData", "rulename": "Drift", "model": "fraud"}, "Drift couldn't be asked"),
        ({"alertname": "DatasourceError", "model": "fraud"}, "its rule couldn't be asked"),
    ],
)
def test_what_is_about_no_model(labels: dict[str, str], problem: str) -> None:
    [found] = read(changed(labels=labels))
    assert isinstance(found, Unusable) and problem in found.problem


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the body must be an object"),
        ({}, "alerts: must be a list"),
        ({"alerts": []}, "alerts: must be a list of at least one"),
        ({"alerts": [{}] * (MAX_ALERTS + 1)}, f"and {MAX_ALERTS} are taken at once"),
        ({"alerts": ["x"]}, r"alerts\[0\]: must be an object"),
        (changed(status="pending"), r"alerts\[0\].status: 'pending' is neither"),
        (changed(labels=["model"]), r"alerts\[0\].labels: must be an object of texts"),
        (changed(labels={"model": 3}), r"alerts\[0\].labels: must be an object of texts"),
        (changed(labels={"model": "a\0b"}), r"alerts\[0\].labels: must be an object of texts"),
        (changed(startsAt="yesterday"), r"alerts\[0\].startsAt: 'yesterday' is no time"),
        (changed(startsAt="2026-11-29T10:00:00"), "is no time of RFC 3339"),
        (changed(startsAt=None), "startsAt: None is no time"),
        (changed(startsAt="0001-01-01T00:00:00+05:00"), "is no time of these years"),
        (changed(labels={"model": "\ud800"}), r"alerts\[0\].labels: must be an object of texts"),
        (changed(labels={"a\0": "b"}), r"alerts\[0\].labels: must be an object of texts"),
    ],
)
def test_what_is_no_webhook(document: Any, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        read(document)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(ALERTMANAGER["alerts"][0])), anything)
def test_no_value_breaks_it(key: str, value: Any) -> None:
    try:
        [found] = read(changed(**{key: value}))
    except MalformedError:
        return
    assert isinstance(found, Alert | Unusable)


NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def posted(ends: str | None, **labels: str) -> dict[str, Any]:
    """As Prometheus sends one."""
    alert: dict[str, Any] = {
        "labels": {"alertname": "RetrainingDrift", "purpose": "retraining", "model": "fraud", "version": "3", **labels},
        "annotations": {"summary": "drift for 2m"},
        "startsAt": "2026-11-29T11:58:00.123Z",
        "generatorURL": "http://prometheus:9090/graph",
    }
    return alert if ends is None else {**alert, "endsAt": ends}


@pytest.mark.parametrize(
    ("ends", "firing"),
    [
        ("2026-11-29T12:04:00.5Z", True),
        ("2026-11-29T12:00:00Z", False),
        ("2026-11-29T11:59:00.123456789Z", False),
        (None, True),
    ],
)
def test_prometheus_says_until_when_an_alert_fires(ends: str | None, firing: bool) -> None:
    [found] = read_posted([posted(ends)], NOW)
    assert isinstance(found, Alert) and (found.model, found.version, found.firing) == ("fraud", "3", firing)
    [again] = read_posted([posted("2026-11-29T12:10:00Z")], NOW)
    assert isinstance(again, Alert) and again.fingerprint == found.fingerprint
    [other] = read_posted([posted(ends, trigger="1")], NOW)
    assert isinstance(other, Alert) and other.fingerprint != found.fingerprint


def test_of_prometheus_s_alerts_only_those_about_retraining_are_taken() -> None:
    others = [posted(None, purpose="paging"), {**posted(None), "labels": {"alertname": "TargetDown"}}]
    assert read_posted([*others, posted(None)], NOW) == read_posted([posted(None)], NOW)
    assert read_posted([], NOW) == []


@pytest.mark.parametrize("document", [{"alerts": []}, None, [3], [posted("soon")], [posted(None)] * (MAX_ALERTS + 1)])
def test_what_prometheus_never_posts(document: Any) -> None:
    with pytest.raises(MalformedError):
        read_posted(document, NOW)
