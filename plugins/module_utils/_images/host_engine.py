# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a host's container to what is wanted, and takes it away."""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .._docker.api import Engine
from .._errors import RequestError
from .errors import ImagesError
from .host_container import HostContainer, differences, observed, summary
from .host_files import changed, newest, write


def inspect(engine: Engine, path: str, check: bool) -> dict[str, Any] | None:
    """An object, None where it isn't there; in check mode also where there is no engine yet."""
    try:
        return dict(engine.call("GET", path))
    except RequestError as error:
        if error.status == 404 or (check and error.unreachable):
            return None
        raise


def run(
    module: Any, describe: Callable[[Mapping[str, Any], bool], tuple[HostContainer, dict[str, str]]], *, data: bool
) -> None:
    """Does what a module is for, and ends it. *describe*: the container and its files, of parameters and check mode.

    *data*: whether with the container its volume and its folder go.
    """
    parameters, check = module.params, module.check_mode
    engine, folder = Engine(parameters["docker_socket"]), Path(parameters["config_dir"])
    try:
        if parameters["state"] == "present":
            container, files = describe(parameters, check)
            result = present(engine, container, folder, files, parameters["wait_timeout"], check=check)
        else:
            result = absent(engine, parameters["name"], folder, data=data, check=check)
        module.exit_json(**result)
    except (ImagesError, RequestError, OSError) as error:
        module.fail_json(msg=str(error))


def present(
    engine: Engine, wanted: HostContainer, folder: Path, files: Mapping[str, str], timeout: int, *, check: bool
) -> dict[str, Any]:
    """Makes it so and waits until it is healthy; a module's result. *files* go into *folder*.

    :raises ImagesError: where the engine lacks the image, or the container doesn't become healthy.
    """
    name = wanted.name
    image = inspect(engine, f"/images/{wanted.image}/json", check)
    if image is None and not check:
        raise ImagesError(f"the engine doesn't have the image {wanted.image}; the role images makes it")
    live = inspect(engine, f"/containers/{name}/json", check)
    after = summary(wanted, image["Id"] if image else wanted.image)
    before = observed(live, wanted) if live else {}
    recreate = differences(before, after)
    stale = changed(folder, files)
    restart = bool(live) and not recreate and not stale and _started_before(live or {}, newest(folder, files))
    why = recreate + [f"file {file}" for file in stale] + (["started before its files were written"] if restart else [])
    result = {
        "changed": bool(why),
        "why": why if live else ["it isn't there"],
        "status": _status(live["State"]) if live else "absent",
        "diff": {
            "before": {
                **{key: before.get(key) for key in recreate if live},
                **{f"file {n}": "other or none" for n in stale},
            },
            "after": {**{key: after[key] for key in recreate}, **{f"file {n}": "as declared" for n in stale}},
        },
    }
    if not why:
        result["why"] = []
    if check:
        return result
    if stale:
        write(folder, {file: files[file] for file in stale})
    if recreate == ["running"]:
        engine.call("POST", f"/containers/{name}/start")
    elif recreate:
        if live:
            _remove(engine, name)
        engine.call("POST", "/containers/create", body=wanted.body(), name=name)
        engine.call("POST", f"/containers/{name}/start")
    elif stale or restart:
        engine.call("POST", f"/containers/{name}/restart")
    result["status"] = _wait_healthy(engine, name, timeout)
    return result


def absent(engine: Engine, name: str, folder: Path, *, data: bool, check: bool) -> dict[str, Any]:
    """Takes the container away, and with *data* its volume and *folder*; a module's result."""
    try:
        live = inspect(engine, f"/containers/{name}/json", check)
        volume = inspect(engine, f"/volumes/{name}", check)
    except RequestError as error:
        if not error.unreachable:
            raise
        # No engine, no container.
        live = volume = None
    why = [text for text, there in (("container", live), ("volume", data and volume)) if there]
    if data and folder.is_dir():
        why.append(str(folder))
    if not check:
        if live:
            _remove(engine, name)
        if data and volume:
            engine.call("DELETE", f"/volumes/{name}")
        if data:
            shutil.rmtree(folder, ignore_errors=True)
    status = _status(live["State"]) if live and check else "absent"
    return {"changed": bool(why), "why": why, "status": status, "diff": {"before": why, "after": []}}


def _started_before(live: Mapping[str, Any], moment: float) -> bool:
    """Whether the container runs with files older than *moment*."""
    started = datetime.datetime.fromisoformat(live["State"]["StartedAt"][:19] + "+00:00").timestamp()
    return started < int(moment)


def _wait_healthy(engine: Engine, name: str, timeout: int) -> str:
    end = time.monotonic() + timeout
    while True:
        state = engine.call("GET", f"/containers/{name}/json")["State"]
        status = _status(state)
        if status == "healthy":
            return status
        if time.monotonic() > end:
            raise ImagesError(
                f"the container {name} isn't healthy after {timeout} s ({status}); it said last:\n{engine.logs(name)}"
            )
        # The engine tells of health by events alone, and those before we listened are gone: it is asked until then.
        time.sleep(0.5)


def _status(state: Mapping[str, Any]) -> str:
    """What the health check says of one that runs; else what has become of it."""
    health = (state.get("Health") or {}) if state["Status"] == "running" else {}
    return str(health.get("Status", state["Status"]))


def _remove(engine: Engine, name: str) -> None:
    engine.call("DELETE", f"/containers/{name}", force="true")
