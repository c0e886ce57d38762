# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's mirrors, proxies and CA bundle, as the secrets of a build.

What the variables leave open is taken from the build host itself: a host that installs packages can build images.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
DEFAULT_APT_SOURCES = f"""\
deb http://deb.debian.org/debian {SUITE} main
deb http://deb.debian.org/debian {SUITE}-updates main
deb http://deb.debian.org/debian-security {SUITE}-security main
"""
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True)
class Mirrors:
    """Contents, not paths; an empty string means that the build host's own setting holds."""

    ca_bundle: str = ""
    apt_sources: str = ""
    pip_index_url: str = ""
    go_proxy: str = ""
    maven_mirror: str = ""
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""

    def filled_from_host(self, environ: Mapping[str, str], root: Path = Path("/")) -> Mirrors:
        """Everything that is still open, as this host has it."""
        proxies = {name: environ.get(name) or environ.get(name.upper()) or "" for name in _PROXIES}
        # One proxy named by the site means that the host's own don't count.
        if self.http_proxy or self.https_proxy:
            proxies = dict.fromkeys(_PROXIES, "")
        return Mirrors(
            ca_bundle=self.ca_bundle or _host_ca_bundle(environ, root),
            apt_sources=one_line_sources(self.apt_sources) or _host_apt_sources(root) or DEFAULT_APT_SOURCES,
            pip_index_url=self.pip_index_url or _host_pip_index(environ, root),
            go_proxy=self.go_proxy or environ.get("GOPROXY", ""),
            maven_mirror=self.maven_mirror,
            http_proxy=self.http_proxy or proxies["http_proxy"],
            https_proxy=self.https_proxy or proxies["https_proxy"],
            no_proxy=self.no_proxy or proxies["no_proxy"],
        )

    def environment(self) -> dict[str, str]:
        """What a command of a build gets in its environment."""
        values: dict[str, str] = {}
        for name in _PROXIES:
            if value := str(getattr(self, name)):
                values[name] = values[name.upper()] = value
        if self.pip_index_url:
            values["PIP_INDEX_URL"] = values["UV_DEFAULT_INDEX"] = self.pip_index_url
        if self.go_proxy:
            values["GOPROXY"] = self.go_proxy
        if self.maven_mirror:
            values["MAVEN_MIRROR"] = self.maven_mirror
        return values

    def secrets(self) -> dict[str, str]:
        """Build secrets by id: one that is empty is mounted empty, so that recipes need not ask."""
        pip = f"[global]\nindex-url = {self.pip_index_url}\n" if self.pip_index_url else ""
        return {
            "ca_bundle": self.ca_bundle,
            "apt_sources": self.apt_sources,
            "pip_conf": pip,
            "env": "".join(f"{name}={shlex.quote(value)}\n" for name, value in self.environment().items()),
        }


def _host_ca_bundle(environ: Mapping[str, str], root: Path) -> str:
    named = environ.get("SSL_CERT_FILE")
    candidates = [Path(named)] if named else []
    candidates += [root / "etc/ssl/certs/ca-certificates.crt", root / "etc/pki/tls/certs/ca-bundle.crt"]
    return next((path.read_text() for path in candidates if path.is_file()), "")


def _host_pip_index(environ: Mapping[str, str], root: Path) -> str:
    if url := environ.get("PIP_INDEX_URL"):
        return url
    home = Path(environ.get("HOME", "/root"))
    for path in (home / ".config/pip/pip.conf", home / ".pip/pip.conf", root / "etc/pip.conf"):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path)
        except (configparser.Error, OSError):
            continue
        if url := parser.get("global", "index-url", fallback=""):
            return url
    return ""


def _host_apt_sources(root: Path) -> str:
    """The host's own sources of Debian 12, as one-line entries; empty on a host of another release."""
    lines: list[str] = []
    for path in [root / "etc/apt/sources.list", *sorted((root / "etc/apt/sources.list.d").glob("*"))]:
        if path.is_file():
            text = path.read_text(errors="replace")
            lines += deb822_entries(text) if path.suffix == ".sources" else text.splitlines()
    entries = [entry for line in lines if (entry := _usable(line))]
    return "".join(f"{entry}\n" for entry in dict.fromkeys(entries)) if any(f" {SUITE} " in e for e in entries) else ""


def one_line_sources(text: str) -> str:
    """Sources in either form, in one-line form."""
    if re.search(r"^Types:", text, re.MULTILINE):
        return "".join(f"{entry}\n" for entry in deb822_entries(text))
    return text


def deb822_entries(text: str) -> Iterator[str]:
    """The one-line form of deb822 sources."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, dummy, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields.get("enabled", "yes").lower() in {"no", "false"} or "deb" not in fields.get("types", "").split():
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield f"deb {uri} {suite} {fields.get('components', '')}".strip()


def _usable(line: str) -> str | None:
    """An entry of Debian's own archive, without options: those name files of the host."""
    found = re.match(r"^deb\s+(?:\[[^]]*]\s+)?(\S+)\s+(\S+)\s+(.*)$", line.split("#", 1)[0].strip())
    if found is None:
        return None
    uri, suite, components = found.groups()
    if suite not in _suites() or "main" not in components.split():
        return None
    return f"deb {uri} {suite} {components.strip()}"


def _suites() -> Iterable[str]:
    return (SUITE, f"{SUITE}-updates", f"{SUITE}-security")


def host_environment() -> Mapping[str, str]:
    """This process's environment and, below it, what /etc/environment sets (no login shell read it for a module)."""
    values: dict[str, str] = {}
    path = Path("/etc/environment")
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            name, equals, value = line.removeprefix("export ").partition("=")
            if equals and not line.startswith("#"):
                values[name.strip()] = value.strip().strip("\"'")
    return {**values, **os.environ}
