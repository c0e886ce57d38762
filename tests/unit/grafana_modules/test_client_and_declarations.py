# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError, RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._grafana import secrets
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import (
    NEWEST,
    NO_ROUTE,
    NOT_GRAFANA,
    GrafanaClient,
    explain,
)
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.dashboards import parse as parse_dashboard
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.data_sources import DataSources
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.data_sources import parse as parse_source
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.folders import Folders
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.integrations import (
    Integration,
    check_secrets,
    paired,
    parse,
    shown,
)
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.rule_stores import (
    GROUP_ANNOTATION,
    GROUP_LABEL,
    belongs,
    resource_name,
)


class Http:
    """Answers in turn; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, Any]] = []

    def json(self, method: str, where: str, *, body: Any = None, **options: Any) -> Any:
        self.asked.append((method, where, body))
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def address(self, where: str) -> str:
        return f"http://x{where}"


def at(*answers: Any) -> GrafanaClient:
    return GrafanaClient(Http(*answers))  # type: ignore[arg-type]


def refusal(status: int, message: str, **more: Any) -> RequestError:
    return RequestError("GET", "http://x", message, status=status, **more)


def test_a_thing_that_is_not_there_and_a_path_that_is_not() -> None:
    assert at(refusal(404, "Dashboard not found")).find_dashboard("u") is None
    at(refusal(404, "Dashboard not found")).delete_dashboard("u")
    for error in (refusal(404, NO_ROUTE), refusal(404, "404 page not found", unreachable=True), refusal(500, "x")):
        with pytest.raises(RequestError):
            at(error).find_dashboard("u")
        with pytest.raises(RequestError):
            at(error).delete_dashboard("u")


def test_which_api_the_server_has() -> None:
    assert at({}).provisions("policies") and at(refusal(404, "rule group not found")).provisions("x")
    assert not at(refusal(404, NO_ROUTE)).provisions("policies")
    # An absent thing of newer versions.
    named = refusal(404, NO_ROUTE, code="alerting.alert-rule.notFound")
    assert at(named).provisions("x") and at(named).find_rule_group("f", "g") is None
    for error in (refusal(401, "Unauthorized"), refusal(404, "no upstream", unreachable=True)):
        with pytest.raises(RequestError):
            at(error).provisions("policies")


def test_versions() -> None:
    assert at({"version": "10.0.0-pre"}).version() == (10, 0, 0)
    assert at({"database": "ok"}).version() == NEWEST > (11, 5, 2)


def test_hints_of_a_wrong_address() -> None:
    assert explain(404, NO_ROUTE) == NOT_GRAFANA and explain(404, "Dashboard not found") == ""
    with pytest.raises(RequestError, match=re.escape(NOT_GRAFANA)):
        at(refusal(404, "404 Not Found nginx", unreachable=True)).find_dashboard("u")
    assert "role Admin" in explain(403, "You'll need additional permissions to perform this action")


def test_pages_until_the_end() -> None:
    full = [{"uid": str(number)} for number in range(1000)]
    client = at(full, [{"uid": "last"}])
    assert len(client.dashboards()) == 1001


def test_another_server() -> None:
    with pytest.raises(RequestError, match="of another form than Grafana's"):
        at("hello").data_sources()
    with pytest.raises(RequestError, match="of another form than Grafana's"):
        at(["hello"]).find_dashboard("u")
    assert at({}).data_sources() == []


def test_a_folder_by_uid_or_title() -> None:
    held = {"uid": "u", "title": "T"}
    assert Folders(at(held)).find("u", None).exists
    assert Folders(at(refusal(404, "folder not found"))).find("u", None).title == "u"
    assert Folders(at([held])).find(None, "T").uid == "u"
    assert Folders(at([held])).find(None, "other").uid is None
    with pytest.raises(InputError, match="give folder_uid, one of u, v"):
        Folders(at([held, held | {"uid": "v"}])).find(None, "T")


def webhook(url: str = "http://a", **more: Any) -> Integration:
    return Integration(more.pop("uid", None), "webhook", {"url": url}, **more)


def test_integrations_are_found_by_uid_then_by_likeness_then_by_type() -> None:
    there = [webhook("http://a", uid="1"), webhook("http://b", uid="2"), Integration("3", "email", {"addresses": "x"})]
    wanted = [webhook("http://new"), webhook("http://b"), Integration("3", "slack", {})]
    assert [other.uid if other else None for _one, other in paired(wanted, there)] == ["1", "2", "3"]
    assert next(other for _one, other in paired([Integration(None, "kafka", {}), *wanted], there)) is None


def test_what_goes_and_what_comes_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "COST", {"n": 2, "r": 1, "p": 1})
    there = [webhook(uid="1", secrets={"password": ""}), Integration("2", "email", {}, secrets={})]
    pairs = paired([webhook(secrets={"password": "new"})], there)
    before, after = shown(pairs, there, "")
    assert [one["type"] for one in before] == ["webhook", "email"] and len(after) == 1
    assert after[0]["secure_settings"] == {"password": "******** (changed)"} and after[0]["uid"] == "1"


def given(**more: Any) -> dict[str, Any]:
    whole = {"uid": None, "type": "webhook", "settings": {"url": "http://a"}, "secure_settings": None}
    return whole | {"disable_resolve_message": False} | more


@pytest.mark.parametrize(
    ("integrations", "message"),
    [
        ([given(uid="a"), given(uid="a")], r"^integrations\[1\]\.uid: a is given twice"),
        ([given(settings={"password": "x"}, secure_settings={"password": "y"})], "password must not be among them"),
        ([given(settings={"mlopsSecretHashes": {}})], "mlopsSecretHashes must not be among them"),
        ([given(settings={"url": "http://me:x@host"})], "url: must have no credentials in the address"),
        ([given(secure_settings={"password": [1]})], r"secure_settings\.password: must be a text"),
    ],
)
def test_integrations_that_can_t_be(integrations: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(integrations)


def test_secrets_among_plain_settings_are_refused() -> None:
    sub = {"propertyName": "hmacConfig", "subformOptions": [{"propertyName": "secret", "secure": True}]}
    types = [
        {"type": "webhook", "options": [{"propertyName": "url"}, {"propertyName": "password", "secure": True}, sub]}
    ]
    check_secrets(parse([given(secure_settings={"password": "x"})]), types)
    for settings, name in (({"password": "x"}, "password"), ({"hmacConfig": {"secret": "x"}}, r"hmacConfig\.secret")):
        with pytest.raises(InputError, match=rf"^integrations\[0\]\.settings: Grafana hides {name} when read"):
            check_secrets(parse([given(settings=settings)]), types)


def test_which_rules_are_of_a_group_where_there_are_none() -> None:
    name = resource_name("drift", "Predictions drift")
    assert len(name) <= 40 and belongs({"name": name}, "drift") and not belongs({"name": name}, "other")
    labelled = {"name": "x", "labels": {GROUP_LABEL: "drift"}}
    assert belongs(labelled, "drift") and not belongs(labelled, "other")
    # What is told counts, whatever the name.
    assert not belongs({"name": name, "annotations": {GROUP_ANNOTATION: "other"}}, "drift")


def dashboard(**more: Any) -> dict[str, Any]:
    whole = {
        "dashboard": {"title": "T", "uid": "u"},
        "uid": None,
        "state": "present",
        "editable": None,
        "version_message": None,
    }
    return whole | more


def test_what_a_dashboard_says() -> None:
    wanted = parse_dashboard(dashboard(dashboard={"title": " T ", "id": 5, "version": 7, "x": 1.0}, uid="u"))
    assert wanted.model == {"title": "T", "uid": "u", "x": 1}
    assert parse_dashboard(dashboard(editable=False)).model["editable"] is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dashboard": {"title": "T"}}, "^uid: the dashboard needs one"),
        ({"dashboard": {"title": "T", "uid": "a b"}}, "^uid: 'a b' must be up to 40"),
        ({"uid": "v"}, "^uid: the dashboard says u of itself, not v"),
        ({"dashboard": {"uid": "u"}}, "^dashboard: must have a title"),
        ({"dashboard": {"dashboard": {"title": "T"}, "meta": {}}}, "^dashboard: give what is in its key dashboard"),
    ],
)
def test_dashboards_that_can_t_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_dashboard(dashboard(**options))


def source(**more: Any) -> dict[str, Any]:
    keys = ("uid", "type", "access", "url", "user", "database", "basic_auth", "basic_auth_user", "with_credentials")
    return dict.fromkeys([*keys, "is_default", "json_data", "secure_json_data", "hash_key"]) | {"name": "n"} | more


def test_what_is_not_said_of_a_data_source_stays() -> None:
    held = {"uid": "u", "name": "n", "type": "prometheus", "access": "proxy", "url": "http://a", "isDefault": True}
    held |= {"jsonData": {"a": 1}, "secureJsonFields": {"password": True}}
    client = at([held], held, {}, [held], held | {"url": "http://b"})
    made = DataSources(client, check=False).present(parse_source(source(url="http://b")))
    assert made.changed and made.before["url"] == "http://a" and made.after["url"] == "http://b"
    method, where, body = client.http.asked[2]  # type: ignore[attr-defined]
    assert (method, where) == ("PUT", "/api/datasources/uid/u")
    assert (body["isDefault"], body["jsonData"], body["secureJsonData"]) == (True, {"a": 1}, {})
    assert not DataSources(at([held], held), check=False).present(parse_source(source(url="http://a"))).changed


def test_secrets_of_a_data_source_that_are_not_named_are_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "COST", {"n": 2, "r": 1, "p": 1})
    held = {"uid": "u", "name": "n", "type": "x", "jsonData": {}, "secureJsonFields": {"old": True, "off": False}}
    client = at([held], held, {}, [held], held)
    DataSources(client, check=False).present(parse_source(source(secure_json_data={"new": "s"})))
    assert client.http.asked[2][2]["secureJsonData"] == {"new": "s", "old": ""}  # type: ignore[attr-defined]


def test_data_sources_that_can_t_be() -> None:
    for options, message in (
        ({"url": "http://me:x@host"}, "^url: must have no credentials"),
        ({"json_data": {"mlopsSecretHashes": {}}}, "^json_data: mlopsSecretHashes must not be among it"),
        ({"secure_json_data": {"a": []}}, r"^secure_json_data\.a: must be a text"),
    ):
        with pytest.raises(InputError, match=message):
            parse_source(source(**options))
    with pytest.raises(InputError, match=r"^type: the data source n doesn't exist yet"):
        DataSources(at([]), check=True).present(parse_source(source()))
    read_only = {"uid": "u", "name": "n", "type": "x", "readOnly": True}
    with pytest.raises(InputError, match="provisioned from a file"):
        DataSources(at([read_only], read_only), check=True).present(parse_source(source()))
