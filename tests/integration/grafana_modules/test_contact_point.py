# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Contact points with their integrations, at a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from grafana import Call, Grafana

POINTS = "/api/v1/provisioning/contact-points"


def held(grafana: Grafana, name: str) -> list[dict[str, Any]]:
    return [one for one in grafana.api("GET", POINTS) if one["name"] == name]


def webhook(**more: Any) -> dict[str, Any]:
    return {"type": "webhook", "settings": {"url": "http://lifecycle:8080/", "username": "grafana"}} | more


def test_a_contact_point(grafana: Grafana, call: Call, converge: Call) -> None:
    mail = {"type": "email", "uid": "by-mail", "settings": {"addresses": "a@example.org"}}
    options: dict[str, Any] = {"name": "a point", "integrations": [webhook(disable_resolve_message=True), mail]}
    made = converge("contact_point", **options)
    assert made["changed"] and made["diff"]["before"] == {}
    point = made["contact_point"]
    assert (point["locked"], point["provenance"]) == (True, "api")
    assert {one["type"]: one["disable_resolve_message"] for one in point["integrations"]} == {
        "email": False,
        "webhook": True,
    }
    [info] = call("contact_point_info", name="a point")["contact_points"]
    assert info == point
    uids = {one["type"]: one["uid"] for one in point["integrations"]}
    assert uids["email"] == "by-mail"
    # One changes, one goes, one comes; what stays keeps its uid.
    options["integrations"] = [
        webhook(settings={"url": "http://new/"}),
        {"type": "slack", "settings": {"recipient": "#a"}},
    ]
    options["integrations"][1]["secure_settings"] = {"url": "https://hooks.slack.com/services/x"}
    changed = converge("contact_point", **options)
    now = {one["type"]: one["uid"] for one in changed["contact_point"]["integrations"]}
    assert set(now) == {"webhook", "slack"} and now["webhook"] == uids["webhook"]
    gone = converge("contact_point", name="a point", state="absent")
    assert gone["changed"] and gone["contact_point"] is None and held(grafana, "a point") == []
    assert call("contact_point_info", name="a point")["contact_points"] == []


def test_a_rotated_secret_is_noticed_and_never_shown(
    grafana: Grafana, call: Call, converge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda module, msg, log_args=None: logged.append(f"{msg} {log_args}"))

    def options(word: str, key: str = "hash-key-for-tests") -> dict[str, Any]:
        secret = {"password": f"{word}-for-good"}
        return {"name": "secretive", "hash_key": key, "integrations": [webhook(secure_settings=secret)]}

    results = [converge("contact_point", **options("swordfish"))]
    [one] = held(grafana, "secretive")
    assert one["settings"]["password"] == "[REDACTED]" and set(one["settings"]["mlopsSecretHashes"]) == {"password"}
    results.append(converge("contact_point", **options("haddock")))
    assert results[-1]["changed"]
    before, after = (results[-1]["diff"][side]["integrations"][0] for side in ("before", "after"))
    assert before["secure_settings"] == {"password": "********"}
    assert after["secure_settings"] == {"password": "******** (changed)"}
    assert before | {"secure_settings": None} == after | {"secure_settings": None}
    # Another key is another secret, and what is not said of secrets leaves them.
    results.append(converge("contact_point", **options("haddock", "another-hash-key")))
    assert results[-1]["changed"]
    kept = held(grafana, "secretive")[0]["settings"]["mlopsSecretHashes"]
    quiet = {"name": "secretive", "integrations": [webhook(disable_resolve_message=True)]}
    results.append(converge("contact_point", **quiet))
    assert held(grafana, "secretive")[0]["settings"]["mlopsSecretHashes"] == kept
    again = call("contact_point", **options("haddock", "another-hash-key"))
    assert again["diff"]["after"]["integrations"][0]["secure_settings"] == {"password": "********"}
    results += [again, call("contact_point_info")]
    # No secret is wanted any more.
    results.append(converge("contact_point", name="secretive", integrations=[webhook(secure_settings={})]))
    settings = held(grafana, "secretive")[0]["settings"]
    assert "password" not in settings and "mlopsSecretHashes" not in settings
    wrong = {"unknown": 1}, {"locked": "perhaps"}, {"grafana_url": "nowhere"}
    results += [call("contact_point", **options("haddock") | one) for one in wrong]
    said = json.dumps([results, logged])
    assert "for-good" not in said and "hash-key" not in said and len(logged) > 9


def test_a_secret_that_somebody_else_set(grafana: Grafana, converge: Call) -> None:
    body = {"name": "theirs", "type": "webhook", "settings": {"url": "http://lifecycle:8080/", "password": "theirs"}}
    grafana.api(
        "POST",
        POINTS,
        body | {"settings": body["settings"] | {"username": "grafana"}},
        {"X-Disable-Provenance": "true"},
    )
    made = converge(
        "contact_point", name="theirs", locked=False, integrations=[webhook(secure_settings={"password": "ours"})]
    )
    assert made["diff"]["after"]["integrations"][0]["secure_settings"] == {"password": "******** (changed)"}


def test_locked_and_unlocked(grafana: Grafana, call: Call, converge: Call) -> None:
    options: dict[str, Any] = {"name": "locks", "integrations": [webhook(secure_settings={"password": "swordfish"})]}
    identity = ""
    for locked in (True, False, True, False):
        made = converge("contact_point", **options, locked=locked)
        assert made["changed"] and made["contact_point"]["locked"] is locked
        [one] = held(grafana, "locks")
        assert one.get("provenance", "") == ("api" if locked else "")
        identity = identity or one["uid"]
        assert one["uid"] == identity and one["settings"]["password"] == "[REDACTED]"
    # Without its secrets it can't be made anew.
    call("contact_point", **options, locked=True)
    bare = {"name": "locks", "integrations": [webhook()], "locked": False}
    for check in (True, False):
        failed = call("contact_point", check=check, **bare)
        assert failed["failed"] and "its secrets must be given: password" in failed["msg"]
    assert [one["uid"] for one in held(grafana, "locks")] == [identity]


def test_what_is_in_use_stays(grafana: Grafana, call: Call, converge: Call) -> None:
    converge("contact_point", name="in use", integrations=[webhook(), webhook(settings={"url": "http://second/"})])
    before = grafana.api("GET", "/api/v1/provisioning/policies")
    call("notification_policy", receiver="in use")
    try:
        for check in (True, False):
            failed = call("contact_point", check=check, name="in use", state="absent")
            assert failed["failed"] and "a notification policy tells the contact point in use" in failed["msg"]
        assert len(held(grafana, "in use")) == 2
        # All of its integrations may be replaced, and unlocked.
        mail = {"type": "email", "settings": {"addresses": "a@example.org"}}
        converge("contact_point", name="in use", integrations=[mail])
        converge("contact_point", name="in use", integrations=[mail], locked=False)
    finally:
        grafana.api("PUT", "/api/v1/provisioning/policies", before, {"X-Disable-Provenance": "true"})
    assert converge("contact_point", name="in use", state="absent")["changed"]


@pytest.mark.parametrize(
    ("integrations", "message"),
    [
        ([webhook(settings={"url": "http://a/", "password": "x-for-good"})], "Grafana hides password when read"),
        ([webhook(settings={"url": "http://me:x-for-good@a/"})], "must have no credentials in the address"),
        ([webhook(settings={})], "HTTP 400: "),
        ([{"type": "pigeon", "settings": {}}], "HTTP 400: "),
        ([], "integrations: a contact point has one at least"),
    ],
)
def test_what_can_t_be(grafana: Grafana, call: Call, integrations: list[dict[str, Any]], message: str) -> None:
    failed = call("contact_point", name="wrong", integrations=integrations)
    assert failed["failed"] and message in failed["msg"], failed["msg"]
    assert "x-for-good" not in failed["msg"] and held(grafana, "wrong") == []
