# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Build secrets: the site's variables, and for what they leave open the build host's own settings."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._images.mirrors import (
    DEFAULT_APT_SOURCES,
    Mirrors,
    one_line_sources,
)

DEB822 = """\
Types: deb
# a remark
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.example.org/debian
Suites: bookworm
Components: main

Types: deb deb-src
URIs: http://mirror.example.org/security
Suites: bookworm-security
Components: main contrib
"""


def host(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_deb822_in_one_line_form() -> None:
    assert one_line_sources(DEB822).splitlines() == [
        "deb http://mirror.example.org/debian bookworm main",
        "deb http://mirror.example.org/debian bookworm-updates main",
        "deb http://mirror.example.org/security bookworm-security main contrib",
    ]
    assert one_line_sources("deb http://x bookworm main\n") == "deb http://x bookworm main\n"


def test_host_sources_of_this_release_alone(tmp_path: Path) -> None:
    root = host(tmp_path, etc__apt__sources_DOT_list_DOT_d__debian_DOT_sources=DEB822)
    other = root / "etc/apt/sources.list.d/other.list"
    other.write_text(
        "deb [signed-by=/k] https://vendor.example.org/apt vendor-bookworm main\n"
        "deb https://docker.example.org/debian bookworm stable\n"
        "deb [arch=amd64] http://backup.example.org/debian bookworm main # ours\n"
    )
    sources = Mirrors().filled_from_host({}, root).apt_sources
    assert "vendor" not in sources and "docker" not in sources and "off." not in sources
    assert "deb http://backup.example.org/debian bookworm main\n" in sources
    assert sources.count("bookworm-security") == 1


def test_a_host_of_another_release_gets_the_public_archive(tmp_path: Path) -> None:
    root = host(tmp_path, etc__apt__sources_DOT_list="deb http://archive.example.org/ubuntu jammy main\n")
    assert Mirrors().filled_from_host({}, root).apt_sources == DEFAULT_APT_SOURCES


def test_variables_win(tmp_path: Path) -> None:
    root = host(
        tmp_path,
        etc__pip_DOT_conf="[global]\nindex-url = https://host.example.org/simple\n",
        etc__ssl__certs__ca_certificates_DOT_crt="unused",
    )
    (root / "etc/ssl/certs/ca-certificates.crt").write_text("HOST CA")
    environment = {"HOME": str(root / "home"), "http_proxy": "http://hostproxy:1", "no_proxy": "host.only"}
    found = Mirrors().filled_from_host(environment, root)
    assert (found.pip_index_url, found.ca_bundle) == ("https://host.example.org/simple", "HOST CA")
    assert (found.http_proxy, found.no_proxy) == ("http://hostproxy:1", "host.only")
    named = Mirrors(pip_index_url="https://site/simple", ca_bundle="SITE CA", https_proxy="http://site:2")
    found = named.filled_from_host(environment, root)
    assert (found.pip_index_url, found.ca_bundle) == ("https://site/simple", "SITE CA")
    assert (found.http_proxy, found.https_proxy, found.no_proxy) == ("", "http://site:2", "")


def test_all_secrets_are_given_even_if_empty() -> None:
    assert Mirrors().secrets() == {"ca_bundle": "", "apt_sources": "", "pip_conf": "", "env": ""}


@pytest.mark.parametrize("value", ["http://u:p'w$(id)@proxy:1", "http://plain:3128", 'http://"quoted" `x`'])
def test_env_survives_the_shell(value: str, tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text(Mirrors(http_proxy=value, pip_index_url="https://i/simple").secrets()["env"])
    script = f'. {shlex.quote(str(path))}; printf \'%s|%s\' "$HTTP_PROXY" "$UV_DEFAULT_INDEX"'
    assert (
        subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
        == f"{value}|https://i/simple"
    )
