# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Dashboards and data sources, at a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from grafana import Call, Grafana

PANEL = {
    "id": 1,
    "type": "timeseries",
    "title": "up",
    "gridPos": {"x": 0, "y": 0, "w": 24, "h": 12},
    "targets": [{"refId": "A", "expr": "up", "interval": 1.0}],
}


def dashboard(**more: Any) -> dict[str, Any]:
    return {"uid": "board", "title": "Board", "schemaVersion": 38, "panels": [PANEL], "tags": []} | more


def test_a_dashboard(grafana: Grafana, call: Call, converge: Call) -> None:
    made = converge("dashboard", folder="Dashboards", dashboard=dashboard(id=77, version=9))
    shown = made["dashboard"]
    assert made["changed"] and (shown["folder"], shown["title"], shown["version"]) == ("Dashboards", "Board", 1)
    assert shown["dashboard"] == dashboard() and shown["url"] == "/d/board/board"
    [info] = call("dashboard_info", uid="board")["dashboards"]
    assert info == shown
    assert call("dashboard_info", folder="Dashboards")["dashboards"] == [shown]
    # As it comes back from the pages, with what the server counts.
    held = grafana.api("GET", "/api/dashboards/uid/board")["dashboard"]
    assert not call("dashboard", folder="Dashboards", dashboard=held)["changed"]
    changed = converge(
        "dashboard", folder="Dashboards", dashboard=dashboard(title="Board!"), editable=False, version_message="why"
    )
    assert changed["diff"]["before"]["dashboard"]["title"] == "Board"
    assert changed["dashboard"]["dashboard"]["editable"] is False and changed["dashboard"]["version"] == 2
    versions = grafana.api("GET", "/api/dashboards/uid/board/versions")
    assert versions[0]["message"] == "why"
    # Somebody else saves it, or moves it.
    grafana.api("POST", "/api/dashboards/db", {"dashboard": dashboard(title="Theirs"), "overwrite": True})
    back = converge("dashboard", folder="Dashboards", dashboard=dashboard())
    assert back["diff"]["before"]["folder"] == "General" and back["dashboard"]["folder"] == "Dashboards"
    moved = converge("dashboard", folder_uid="elsewhere", dashboard=dashboard())
    assert moved["diff"]["after"]["folder"] == "elsewhere" and moved["dashboard"]["folder_uid"] == "elsewhere"
    top = converge("dashboard", dashboard=dashboard())
    assert top["dashboard"]["folder_uid"] == ""
    gone = converge("dashboard", uid="board", state="absent")
    assert gone["changed"] and not grafana.there("/api/dashboards/uid/board")


def test_another_of_the_same_title_stays_what_it_is(grafana: Grafana, call: Call) -> None:
    call("dashboard", folder="Titles", dashboard=dashboard(uid="theirs", title="Taken"))
    failed = call("dashboard", folder="Titles", dashboard=dashboard(uid="ours", title="Taken"))
    assert failed["failed"] and "same name in the folder" in failed["msg"], failed["msg"]
    assert grafana.there("/api/dashboards/uid/theirs") and not grafana.there("/api/dashboards/uid/ours")


def test_pruning_stays_in_the_folder(call: Call, converge: Call) -> None:
    for folder, uids in (("Pruned boards", ("b1", "b2", "b3")), ("Boards beside", ("b4",))):
        for uid in uids:
            call("dashboard", folder=folder, dashboard=dashboard(uid=uid, title=f"title of {uid}"))
    made = converge("dashboard", folder="Pruned boards", state="pruned", keep=["b2"])
    assert made["changed"] and made["removed"] == ["b1", "b3"] and set(made["diff"]["after"]) == {"b2"}
    uids = {one["uid"] for one in call("dashboard_info")["dashboards"]}
    assert {"b2", "b4"} <= uids and not {"b1", "b3"} & uids


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dashboard": {"title": "no uid"}}, "uid: the dashboard needs one"),
        ({"dashboard": {"uid": "x"}}, "dashboard: must have a title"),
        ({"state": "pruned", "keep": []}, "state is pruned but any of the following are missing: folder, folder_uid"),
        ({}, "state is present but all of the following are missing: dashboard"),
    ],
)
def test_dashboards_that_can_t_be(call: Call, options: dict[str, Any], message: str) -> None:
    failed = call("dashboard", **options)
    assert failed["failed"] and message in failed["msg"], failed["msg"]


def test_a_data_source(grafana: Grafana, call: Call, converge: Call) -> None:
    options: dict[str, Any] = {
        "name": "Prometheus",
        "uid": "prom",
        "type": "prometheus",
        "url": "http://prometheus:9090",
        "basic_auth": True,
        "basic_auth_user": "grafana",
        "json_data": {"httpMethod": "POST", "timeInterval": "10s", "limit": 5.0},
    }
    made = converge("data_source", **options)
    source = made["data_source"]
    assert made["changed"] and source["access"] == "proxy" and not source["is_default"]
    assert {key: source[key] for key in options} == options
    assert call("data_source_info", uid="prom")["data_sources"] == [source]
    assert source in call("data_source_info")["data_sources"]
    # What is not said stays; what is said counts as a whole.
    grafana.api(
        "PUT", "/api/datasources/uid/prom", {**grafana.api("GET", "/api/datasources/uid/prom"), "database": "d"}
    )
    changed = converge("data_source", name="Renamed", uid="prom", json_data={"httpMethod": "GET"}, is_default=True)
    assert (changed["data_source"]["name"], changed["data_source"]["database"]) == ("Renamed", "d")
    assert changed["data_source"]["json_data"] == {"httpMethod": "GET"} and changed["data_source"]["is_default"]
    by_name = converge("data_source", name="Renamed", url="http://other:9090")
    assert by_name["data_source"]["uid"] == "prom"
    gone = converge("data_source", name="Renamed", state="absent")
    assert gone["changed"] and not grafana.there("/api/datasources/uid/prom")
    assert call("data_source_info", name="Renamed")["data_sources"] == []


def test_secrets_of_a_data_source(grafana: Grafana, converge: Call) -> None:
    def options(**secrets: str) -> dict[str, Any]:
        source = {"name": "Ledger", "type": "postgres", "url": "postgresql:5432"}
        return {**source, "hash_key": "hash-key-for-tests", "secure_json_data": secrets}

    results = [converge("data_source", **options(password="swordfish-for-good"))]
    held = grafana.api("GET", "/api/datasources/name/Ledger")
    assert held["secureJsonFields"] == {"password": True} and set(held["jsonData"]) == {"mlopsSecretHashes"}
    results.append(converge("data_source", **options(password="haddock-for-good")))
    assert results[-1]["changed"]
    assert results[-1]["diff"]["before"]["secure_json_data"] == {"password": "********"}
    assert results[-1]["diff"]["after"]["secure_json_data"] == {"password": "******** (changed)"}
    results.append(converge("data_source", name="Ledger", user="mlops", json_data={"sslmode": "disable"}))
    held = grafana.api("GET", "/api/datasources/name/Ledger")
    assert held["secureJsonFields"] == {"password": True} and "mlopsSecretHashes" in held["jsonData"]
    again = converge("data_source", **options(password="haddock-for-good"))
    assert not again["changed"]
    results.append(converge("data_source", **options(tlsCACert="a-certificate-for-good")))
    assert results[-1]["data_source"]["secure_json_data"] == {"tlsCACert": "********"}
    results.append(converge("data_source", **options()))
    assert results[-1]["data_source"]["secure_json_data"] == {}
    said = json.dumps(results)
    assert "for-good" not in said and "hash-key" not in said


def test_data_sources_that_can_t_be(call: Call) -> None:
    for options, message in (
        ({"name": "x"}, "type: the data source x doesn't exist yet, so it needs a type"),
        ({"name": "x", "type": "t", "url": "http://me:x-for-good@h"}, "url: must have no credentials in the address"),
    ):
        failed = call("data_source", **options)
        assert failed["failed"] and message in failed["msg"], failed["msg"]
        assert "x-for-good" not in failed["msg"]
