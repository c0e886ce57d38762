# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._host import containerd

OLD = """\
version = 2

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "pause:1"

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"
"""
NEW = """\
version = 3
[plugins]
  [plugins.'io.containerd.cri.v1.images']
    [plugins.'io.containerd.cri.v1.images'.registry]
      config_path = ''
    [plugins.'io.containerd.cri.v1.images'.pinned_images]
      sandbox = 'pause:1'
"""
MIRRORS = """\
version = 2
[plugins."io.containerd.grpc.v1.cri".registry]
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors]
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
    endpoint = ["https://mirror.example.org"]
"""


def test_where_it_looks() -> None:
    found = containerd.read(OLD)
    assert (found.version, found.directory, found.tables) == (2, Path("/etc/containerd/certs.d"), ())
    assert containerd.read(NEW) == containerd.Options(3, "", ())
    assert containerd.read("") == containerd.Options(2, "", ())


def test_older_ways_to_say_it_are_named() -> None:
    assert containerd.read(MIRRORS).tables == ("registry.mirrors.docker.io",)
    # What a dump prints without content is nobody's setting.
    assert containerd.read(MIRRORS.replace('    endpoint = ["https://mirror.example.org"]\n', "")).tables == ()


@pytest.mark.parametrize("text", ["", OLD.split("[plugins.")[0], NEW, OLD.replace("config_path", "# config_path")])
def test_a_config_path_is_added_and_taken_out(text: str) -> None:
    edited = containerd.with_config_path(text)
    assert containerd.read(edited).directory == Path(containerd.CERTS)
    assert containerd.with_config_path(edited) == edited
    back = containerd.without_ours(edited)
    assert containerd.read(back).directory is None
    assert [line for line in back.splitlines() if line] == [
        line for line in text.splitlines() if line and "config_path = ''" not in line
    ]


def test_what_is_written_for_a_registry() -> None:
    wanted = containerd.files("192.0.2.11:5000", "PEM", Path("/tls"), on_node=Path("/etc/containerd/certs.d"))
    toml = wanted[Path("/tls/192.0.2.11:5000/hosts.toml")]
    assert wanted[Path("/tls/192.0.2.11:5000/ca.crt")] == "PEM"
    assert '[host."https://192.0.2.11:5000"]' in toml
    assert 'ca = "/etc/containerd/certs.d/192.0.2.11:5000/ca.crt"' in toml
