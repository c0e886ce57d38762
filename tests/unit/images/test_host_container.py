# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Containers of a host: what they are made of, and that every drift of a live one is seen."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._images import host_files
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.host_container import (
    HostContainer,
    differences,
    observed,
    summary,
)
from ansible_collections.mlops.onprem.plugins.module_utils._images.htpasswd import htpasswd
from ansible_collections.mlops.onprem.plugins.module_utils._images.mirrors import Mirrors
from ansible_collections.mlops.onprem.plugins.modules import image_builder, registry

REGISTRY = {
    "name": "m-registry", "namespace": "m", "image": "r/registry:k", "address": "192.0.2.1", "port": 5000,
    "tls_certificate": "PEM", "tls_key": "PEM", "users": {"m": "secret"}, "config_dir": "/etc/m/registry",
    "memory": 1024, "cpus": 1.5,
}  # fmt: skip
WANTED = registry.container(REGISTRY)
BUILDER = {
    "name": "m-image-builder", "namespace": "m", "image": "r/image_builder@sha256:0", "tracking_uri": "http://mlflow.m",
    "username": "images", "password": "secret", "ca": "GATEWAY\n", "extra_hosts": ["mlflow.m:127.0.0.1"],
    "registry": {"address": "192.0.2.1:5000", "username": "m", "password": "push", "ca": "REGISTRY\n"},
    "config_dir": "/etc/m/image-builder", "memory": 1024, "cpus": 1.5,
}  # fmt: skip


def live(wanted: HostContainer = WANTED) -> dict[str, Any]:
    """What the engine makes of the body."""
    body = copy.deepcopy(wanted.body())
    host = body.pop("HostConfig")
    mounts = [
        {
            "Type": mount["Type"],
            **(
                {"Name": mount["Source"], "Source": "/var/lib/docker/volumes/x"}
                if mount["Type"] == "volume"
                else {"Source": mount["Source"]}
            ),
            "Destination": mount["Target"],
            "RW": not mount["ReadOnly"],
        }
        for mount in host["Mounts"]
    ]
    body["Env"] += ["PATH=/usr/bin", "HOME=/tmp"]
    body["Labels"] = {**body["Labels"], "mlops.image.key": "k"}
    return {
        "Config": body,
        "HostConfig": {**host, "Privileged": False},
        "Mounts": mounts,
        "Image": "sha256:1",
        "State": {"Running": True},
    }


def diff(container: dict[str, Any], wanted: HostContainer = WANTED) -> list[str]:
    return differences(observed(container, wanted), summary(wanted, "sha256:1"))


def test_what_was_made_is_what_is_wanted() -> None:
    assert diff(live()) == []
    builder = image_builder.container(BUILDER)
    assert diff(live(builder), builder) == []


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("Image", "sha256:2", "image"),
        ("Config.User", "0:0", "user"),
        ("Config.Env", ["REGISTRY_AUTH_HTPASSWD_REALM=m"], "environment"),
        ("Config.Labels", {}, "labels"),
        ("Config.Healthcheck", None, "health_check"),
        ("HostConfig.RestartPolicy", {"Name": "no"}, "restart"),
        ("HostConfig.ReadonlyRootfs", False, "read_only"),
        ("HostConfig.CapDrop", None, "capabilities_dropped"),
        ("HostConfig.SecurityOpt", None, "security"),
        ("HostConfig.Privileged", True, "privileged"),
        ("HostConfig.Memory", 0, "memory"),
        ("HostConfig.NanoCpus", 0, "cpus"),
        ("HostConfig.PidsLimit", None, "pids"),
        ("HostConfig.NetworkMode", "host", "host_network"),
        ("HostConfig.ExtraHosts", ["registry:192.0.2.9"], "extra_hosts"),
        ("HostConfig.PortBindings", {"5000/tcp": [{"HostIp": "", "HostPort": "5000"}]}, "ports"),
        ("HostConfig.Tmpfs", None, "scratch"),
        ("HostConfig.LogConfig", {"Type": "none"}, "log"),
        ("Mounts", [], "mounts"),
        ("State.Running", False, "running"),
    ],
)
def test_every_drift_is_seen(path: str, value: Any, name: str) -> None:
    container = live()
    *parents, last = path.split(".")
    target: Any = container
    for parent in parents:
        target = target[parent]
    target[last] = value
    assert diff(container) == [name]


def test_without_tls_and_users_nothing_of_them_is_there() -> None:
    plain = registry.container({**REGISTRY, "tls_certificate": "", "users": {}})
    assert plain.environment == {}
    assert [mount["Type"] for mount in plain.mounts()] == ["volume"]
    assert plain.health_check()["Test"][-1] == "http://127.0.0.1:5000/"


def test_the_builder_is_told_all_by_one_file() -> None:
    mirrors = Mirrors(ca_bundle="MIRROR", pip_index_url="https://u:p@index", https_proxy="http://proxy", go_proxy="no")
    told = json.loads(image_builder.settings(BUILDER, mirrors))
    assert told["tracking"] == {"uri": "http://mlflow.m", "username": "images", "password": "secret"}
    assert told["registry"] == {
        "address": "192.0.2.1:5000", "username": "m", "password": "push", "plain_http": False,
    }  # fmt: skip
    assert told["authorities"].split() == ["GATEWAY", "REGISTRY", "MIRROR"]
    assert told["environment"] == {
        "UV_DEFAULT_INDEX": "https://u:p@index", "https_proxy": "http://proxy", "HTTPS_PROXY": "http://proxy",
    }  # fmt: skip
    body = json.dumps(image_builder.container(BUILDER).body())
    assert not any(word in body for word in ("secret", "push", "u:p"))
    assert image_builder.container(BUILDER).body()["HostConfig"]["NetworkMode"] == "host"


@pytest.mark.parametrize("library", ["bcrypt", "crypt"])
def test_users_keep_their_lines_until_the_password_changes(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "crypt":
        if sys.version_info >= (3, 13):
            pytest.skip("Python 3.13 has no crypt")
        monkeypatch.setitem(sys.modules, "bcrypt", None)
    first = htpasswd({"b": "two", "a": "one"}, "")
    assert [line.partition(":")[0] for line in first.splitlines()] == ["a", "b"]
    assert "$2" in first and "one" not in first
    assert htpasswd({"a": "one", "b": "two"}, first) == first
    rotated = htpasswd({"a": "one", "b": "three"}, first)
    assert rotated.splitlines()[0] == first.splitlines()[0] and rotated.splitlines()[1] != first.splitlines()[1]
    assert htpasswd({"a": "one"}, "a:garbage\n").startswith("a:$2")


def test_a_password_that_bcrypt_would_cut_is_refused() -> None:
    with pytest.raises(ImagesError, match="72 bytes"):
        htpasswd({"a": "x" * 73}, "")


def test_files_are_compared_with_mode_and_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_files, "_OWNER", tmp_path.stat().st_uid)
    monkeypatch.setattr("os.chown", lambda *_: None)
    files = {"tls.pem": "certificate"}
    assert host_files.changed(tmp_path, files) == ["tls.pem"]
    host_files.write(tmp_path, files)
    assert host_files.changed(tmp_path, files) == []
    assert (tmp_path / "tls.pem").stat().st_mode & 0o777 == 0o400
    (tmp_path / "tls.pem").chmod(0o444)
    assert host_files.changed(tmp_path, files) == ["tls.pem"]
    assert host_files.newest(tmp_path, files) > 0 == host_files.newest(tmp_path, {"other": ""})
