# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong on the way: the module says what and where, and nothing is half-registered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils import _http
from mlflow_server import HALF, REFUSE, SLOW, Call, Proxy, Server, free_port

UPLOADS = "/mlflow-artifacts/artifacts/"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pause = _http.time.sleep
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: pause(min(seconds, 0.05)))


def at(method: str, part: str, what: Any, after: int = 0) -> Callable[[str, str, int], Any]:
    """A fault at requests of this kind, from the one after ``after`` on."""
    seen = [0]

    def fault(asked: str, path: str, times: int) -> Any:
        if asked != method or not (path.partition("?")[0].endswith(part) or (part.endswith("/") and part in path)):
            return None
        seen[0] += 1
        return what if seen[0] > after else None

    return fault


@pytest.mark.parametrize(
    ("method", "part", "what", "after", "message"),
    [
        ("PUT", UPLOADS, 500, 3, "HTTP 500: the disk is full"),
        ("PUT", UPLOADS, REFUSE, 2, "closed the connection without an answer"),
        ("PUT", UPLOADS, HALF, 1, None),  # an empty answer can't be halved: it goes well
        ("GET", UPLOADS, HALF, 2, "the answer broke off"),
        ("POST", "/experiments/create", HALF, 0, "the answer broke off"),
        ("POST", "/runs/create", 500, 0, "HTTP 500: the disk is full"),
        ("POST", "/runs/create", HALF, 0, "the answer broke off"),
        ("POST", "/runs/create", SLOW, 0, "no complete answer within 6 s"),
        ("POST", "/logged-models", HALF, 0, "the answer broke off"),
        ("POST", "/runs/log-batch", 500, 0, "HTTP 500: the disk is full"),
        ("POST", "/runs/log-inputs", REFUSE, 0, "closed the connection"),
        ("PATCH", "/logged-models/", 503, 0, "HTTP 503"),
        ("POST", "/registered-models/create", HALF, 0, "the answer broke off"),
        ("POST", "/model-versions/create", 500, 0, "HTTP 500: the disk is full"),
        ("POST", "/model-versions/create", HALF, 0, "the answer broke off"),
        ("POST", "/model-versions/create", SLOW, 0, "no complete answer within 6 s"),
    ],
)
def test_nothing_is_half_registered(
    server: Server, proxy: Proxy, call: Call, tiny: Path, trained: Path,
    method: str, part: str, what: Any, after: int, message: str | None,
) -> None:  # fmt: skip
    before = server.state()
    proxy.fault = at(method, part, what, after)
    options: dict[str, Any] = {
        "name": f"half-{tiny.parent.name}",
        "path": str(tiny),
        "params": {"C": 1},
        "metrics": {"m": 1},
        "datasets": [{"name": "d", "path": str(trained / "train.csv")}],
        "concurrency": 2,
    }
    result = call("mlflow_model_version", tracking_uri=proxy.uri, timeout=6 if what == SLOW else 30, **options)
    if message is None:
        assert result["registered"]
        return
    assert result["failed"], result
    assert message in result["msg"] and f"{method} {proxy.uri}/api/2.0/mlflow" in result["msg"], result["msg"]
    assert "Nothing was registered." in result["msg"], result["msg"]
    assert result["request"]["method"] == method
    assert server.state() == before
    proxy.fault = lambda *args: None
    made = call("mlflow_model_version", tracking_uri=proxy.uri, **options)
    assert made["registered"] and made["model_version"]["version"] == "1", made


def test_what_cant_be_repeated_is_not(proxy: Proxy, call: Call, tiny: Path) -> None:
    for part in ("/runs/create", "/model-versions/create"):
        proxy.seen.clear()
        proxy.fault = at("POST", part, 503)
        assert call("mlflow_model_version", name="once", path=str(tiny), tracking_uri=proxy.uri)["failed"]
        assert proxy.count("POST", part) == 1


def test_a_passing_fault_is_passed_over(server: Server, proxy: Proxy, call: Call, tiny: Path) -> None:
    proxy.fault = lambda method, path, times: (
        503 if times == 1 and (method in ("PUT", "GET") or "search" in path) else None
    )
    made = call("mlflow_model_version", name="flaky", path=str(tiny), tracking_uri=proxy.uri)
    assert made["registered"], made
    assert [one for one in server.state()["versions"] if one[0] == "flaky"] == [("flaky", "1")]


@pytest.mark.parametrize("verify", ["hash", "size"])
def test_what_the_store_alters_is_seen(server: Server, proxy: Proxy, call: Call, tiny: Path, verify: str) -> None:
    before = server.state()
    proxy.alter = True
    if verify == "size":
        (tiny / "data" / "small").write_bytes(b"x")
    result = call("mlflow_model_version", name="altered", path=str(tiny), tracking_uri=proxy.uri, verify=verify)
    assert result["failed"] and "what the server stored is not what was sent" in result["msg"], result
    assert server.state() == before


def test_when_the_server_dies_for_good_it_says_what_is_left(
    server: Server, proxy: Proxy, call: Call, tiny: Path
) -> None:
    before = server.state()
    dead: list[bool] = []

    def dies(method: str, path: str, times: int) -> Any:
        if method == "PUT" and len(proxy.seen) > 6:
            dead.append(True)
        return REFUSE if dead else None

    proxy.fault = dies
    result = call("mlflow_model_version", name="died", path=str(tiny), tracking_uri=proxy.uri, concurrency=1)
    assert result["failed"] and "Not registered; left behind, because it could not be removed: run " in result["msg"]
    left = server.state()
    assert left["versions"] == before["versions"] and len(left["runs"]) == len(before["runs"]) + 1
    # The next run takes it away, as after a module that was killed.
    proxy.fault = lambda *args: None
    assert call("mlflow_model_version", name="died", path=str(tiny), tracking_uri=proxy.uri)["registered"]
    after = server.state()
    assert not set(left["runs"]) - set(before["runs"]) & set(after["runs"])
    assert len(after["runs"]) == len(before["runs"]) + 1
    assert len(after["logged_models"]) == len(before["logged_models"]) + 1


def test_an_alias_that_fails_keeps_the_version(server: Server, proxy: Proxy, call: Call, tiny: Path) -> None:
    proxy.fault = at("POST", "/registered-models/alias", 500)
    options: dict[str, Any] = {"name": "nearly", "path": str(tiny), "aliases": ["champion"], "tracking_uri": proxy.uri}
    result = call("mlflow_model_version", **options)
    assert result["failed"] and "Version 1 of nearly is registered" in result["msg"], result
    proxy.fault = lambda *args: None
    again = call("mlflow_model_version", **options)
    assert again["changed"] and not again["registered"] and again["model_version"]["aliases"] == ["champion"]
    assert not call("mlflow_model_version", **options)["changed"]


MODULES: dict[str, dict[str, Any]] = {
    "mlflow_registered_model": {"name": "x"},
    "mlflow_registered_model_info": {},
    "mlflow_model_version_info": {"name": "x"},
    "mlflow_user": {"users": [{"name": "a", "password": "a" * 12}]},
    "mlflow_user_info": {},
}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_and_where(server: Server, proxy: Proxy, call: Call, name: str) -> None:
    options = MODULES[name]
    wrong = call(name, **options, password="not the password")
    assert wrong["failed"] and "HTTP 401" in wrong["msg"] and "check username and password" in wrong["msg"]
    assert "not the password" not in wrong["msg"] and wrong["request"]["status"] == 401
    nowhere = f"http://127.0.0.1:{free_port()}"
    refused = call(name, **options, tracking_uri=nowhere)
    assert refused["failed"] and f"{nowhere}/api/" in refused["msg"] and "Connection refused" in refused["msg"]
    proxy.fault = lambda *args: HALF
    half = call(name, **options, tracking_uri=proxy.uri)
    assert half["failed"] and "the answer broke off" in half["msg"]


@pytest.mark.parametrize("name", MODULES)
def test_check_mode_before_there_is_a_server(call: Call, name: str) -> None:
    nowhere: dict[str, Any] = {"tracking_uri": f"http://127.0.0.1:{free_port()}", **MODULES[name]}
    assert call(name, check=True, **nowhere)["failed"]
    result = call(name, check=True, unreachable_in_check="ignore", **nowhere)
    assert not result.get("failed") and result["reachable"] is False
    assert result["changed"] is not name.endswith("_info")
    assert call(name, unreachable_in_check="ignore", **nowhere)["failed"]  # only in check mode
    # The authority of a gateway that is still to be set up isn't there either.
    secure = nowhere | {
        "tracking_uri": nowhere["tracking_uri"].replace("http:", "https:"),
        "ca_path": "/nowhere/ca.pem",
    }
    assert "ca_path" in call(name, check=True, **secure)["msg"]
    assert call(name, check=True, unreachable_in_check="ignore", **secure)["reachable"] is False


def test_check_mode_of_a_version_before_there_is_a_server(call: Call, tiny: Path) -> None:
    nowhere: dict[str, Any] = {"tracking_uri": f"http://127.0.0.1:{free_port()}", "unreachable_in_check": "ignore"}
    result = call("mlflow_model_version", check=True, name="x", path=str(tiny), aliases=["champion"], **nowhere)
    assert result["changed"] and result["registered"] and len(result["model_version"]["sha256"]) == 64
    (tiny / "MLmodel").unlink()
    wrong = call("mlflow_model_version", check=True, name="x", path=str(tiny), **nowhere)
    assert wrong["failed"] and "has no MLmodel file" in wrong["msg"]
