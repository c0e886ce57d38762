#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: registry
short_description: The site's image registry, a plain container on one host
version_added: 0.1.0
description:
  - Runs a registry from an image that the engine has, and waits until it is healthy.
  - What is compared is the live container; whatever somebody changed on it by hand is put right.
  - Its data is in a volume that stays.
  - Certificate and users are files on the host that only the registry's user can read.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: full
options:
  name:
    description: Name of the container; the volume is named alike.
    type: str
    required: true
  namespace:
    description: Name of the platform, for the labels.
    type: str
    default: mlops
  state:
    description: Whether it is to run or not to be there.
    type: str
    choices: [present, absent]
    default: present
  image:
    description: Image by tag, which the engine has. Needed where O(state=present).
    type: str
  address:
    description: Address of the host that the registry listens at.
    type: str
    default: 127.0.0.1
  port:
    description: Port of the host.
    type: int
    default: 5000
  tls_certificate:
    description: PEM text of the certificate and those above it; without it the registry speaks plain HTTP.
    type: str
    default: ""
  tls_key:
    description: PEM text of the certificate's key.
    type: str
    default: ""
  users:
    description: Name to password; without any, everybody who reaches the registry may push.
    type: dict
    default: {}
  config_dir:
    description: Folder on the host for the certificate and the users.
    type: path
    default: /etc/mlops/registry
  memory:
    description: Limit in bytes.
    type: int
    default: 536870912
  cpus:
    description: Limit in processors.
    type: float
    default: 2
  remove_data:
    description: With O(state=absent), remove the volume and O(config_dir) as well.
    type: bool
    default: false
  docker_socket:
    description: The engine's socket.
    type: path
    default: /var/run/docker.sock
  wait_timeout:
    description: Seconds until it has to be healthy.
    type: int
    default: 60
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: A registry for this host alone
  mlops.onprem.registry:
    name: mlops-registry
    image: 127.0.0.1:5000/registry:0123456789abcdef
"""

RETURN = r"""
why:
  description: What differed, empty if nothing did.
  returned: success
  type: list
  elements: str
status:
  description: V(healthy), or what the engine says of it.
  returned: success
  type: str
"""

import datetime
import shutil
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._docker.api import Engine
from ansible_collections.mlops.onprem.plugins.module_utils._errors import RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.registry_container import (
    Registry,
    differences,
    observed,
    summary,
)
from ansible_collections.mlops.onprem.plugins.module_utils._images.registry_files import (
    changed,
    htpasswd,
    newest,
    write,
)


def inspect(engine: Engine, path: str, check: bool) -> dict[str, Any] | None:
    """An object, None where it isn't there; in check mode also where there is no engine yet."""
    try:
        return dict(engine.call("GET", path))
    except RequestError as error:
        if error.status == 404 or (check and error.unreachable):
            return None
        raise


def wanted_files(parameters: dict[str, Any], check: bool) -> dict[str, str]:
    files = {}
    if parameters["tls_certificate"]:
        files = {"tls.pem": parameters["tls_certificate"], "tls.key": parameters["tls_key"]}
    if parameters["users"]:
        path = Path(parameters["config_dir"]) / "htpasswd"
        current = path.read_text() if path.is_file() else ""
        try:
            files["htpasswd"] = htpasswd(parameters["users"], current)
        except ImagesError:
            if not check:
                raise
            files["htpasswd"] = "(not computed: bcrypt is missing)"
    return files


def started_before(live: dict[str, Any], moment: float) -> bool:
    """Whether the container runs with files older than *moment*."""
    started = datetime.datetime.fromisoformat(live["State"]["StartedAt"][:19] + "+00:00").timestamp()
    return started < int(moment)


def wait_healthy(engine: Engine, name: str, timeout: int) -> str:
    end = time.monotonic() + timeout
    while True:
        state = engine.call("GET", f"/containers/{name}/json")["State"]
        status = str((state.get("Health") or {}).get("Status", state["Status"]))
        if status == "healthy":
            return status
        if time.monotonic() > end:
            raise ImagesError(
                f"the registry {name} isn't healthy after {timeout} s ({status}); it said last:\n{engine.logs(name)}"
            )
        time.sleep(0.5)


def remove(engine: Engine, name: str) -> None:
    engine.call("DELETE", f"/containers/{name}", force="true")


def present(parameters: dict[str, Any], engine: Engine, check: bool) -> dict[str, Any]:
    if not parameters["image"]:
        raise ImagesError("image is needed")
    name = parameters["name"]
    folder = Path(parameters["config_dir"])
    wanted = Registry(
        name=name,
        namespace=parameters["namespace"],
        image=parameters["image"],
        address=parameters["address"],
        port=parameters["port"],
        volume=name,
        config_dir=str(folder),
        tls=bool(parameters["tls_certificate"]),
        users=bool(parameters["users"]),
        memory=parameters["memory"],
        cpus=parameters["cpus"],
    )
    files = wanted_files(parameters, check)
    image = inspect(engine, f"/images/{wanted.image}/json", check)
    if image is None and not check:
        raise ImagesError(f"the engine doesn't have the image {wanted.image}; the role images makes it")
    live = inspect(engine, f"/containers/{name}/json", check)
    after = summary(wanted, image["Id"] if image else wanted.image)
    before = observed(live, after["labels"]) if live else {}
    recreate = differences(before, after)
    stale = changed(folder, files)
    restart = bool(live) and not recreate and not stale and started_before(live or {}, newest(folder, files))
    why = recreate + [f"file {file}" for file in stale] + (["started before its files were written"] if restart else [])
    result = {
        "changed": bool(why),
        "why": why if live else ["it isn't there"],
        "status": "healthy",
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
            remove(engine, name)
        engine.call("POST", "/containers/create", body=wanted.body(), name=name)
        engine.call("POST", f"/containers/{name}/start")
    elif stale or restart:
        engine.call("POST", f"/containers/{name}/restart")
    result["status"] = wait_healthy(engine, name, parameters["wait_timeout"])
    return result


def absent(parameters: dict[str, Any], engine: Engine, check: bool) -> dict[str, Any]:
    name = parameters["name"]
    folder = Path(parameters["config_dir"])
    try:
        live = inspect(engine, f"/containers/{name}/json", check)
        volume = inspect(engine, f"/volumes/{name}", check)
    except RequestError as error:
        if not error.unreachable:
            raise
        # No engine, no container.
        live = volume = None
    data = parameters["remove_data"]
    why = [text for text, there in (("container", live), ("volume", data and volume)) if there]
    if data and folder.is_dir():
        why.append(str(folder))
    if not check:
        if live:
            remove(engine, name)
        if data and volume:
            engine.call("DELETE", f"/volumes/{name}")
        if data:
            shutil.rmtree(folder, ignore_errors=True)
    return {"changed": bool(why), "why": why, "status": "absent", "diff": {"before": why, "after": []}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "default": "mlops"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "image": {"type": "str"},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 5000},
            "tls_certificate": {"type": "str", "default": ""},
            "tls_key": {"type": "str", "default": "", "no_log": True},
            "users": {"type": "dict", "default": {}, "no_log": True},
            "config_dir": {"type": "path", "default": "/etc/mlops/registry"},
            "memory": {"type": "int", "default": 536870912},
            "cpus": {"type": "float", "default": 2},
            "remove_data": {"type": "bool", "default": False},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
            "wait_timeout": {"type": "int", "default": 60},
        },
        required_if=[("state", "present", ["image"])],
        supports_check_mode=True,
    )
    engine = Engine(module.params["docker_socket"])
    run = present if module.params["state"] == "present" else absent
    try:
        module.exit_json(**run(module.params, engine, module.check_mode))
    except (ImagesError, RequestError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
