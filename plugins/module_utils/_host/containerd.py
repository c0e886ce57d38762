# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How containerd on a cluster's node is told what to trust a registry by.

It reads ``<config_path>/<registry>/hosts.toml`` at each pull (docs/hosts.md of containerd), so nothing is restarted
where ``config_path`` is set. Its option file has that in the plug-in of the CRI: of version 2 in containerd 1.x, of
version 3 in 2.x.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CERTS = "/etc/containerd/certs.d"
MARK = "# mlops.onprem"
_PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}
_TABLE = re.compile(r"^\s*\[(?P<name>[^\[\]]+)\]\s*(#.*)?$")
_PATH = re.compile(r"^\s*config_path\s*=\s*(?P<quote>[\"'])(?P<value>.*?)(?P=quote)")
_VERSION = re.compile(r"^\s*version\s*=\s*(\d+)", re.MULTILINE)

#: Makes that write containerd's option file themselves: where they are, and the file that they take registries from.
MAKES = {
    "/etc/rancher/k3s": "/etc/rancher/k3s/registries.yaml",
    "/etc/rancher/rke2": "/etc/rancher/rke2/registries.yaml",
}


@dataclass(frozen=True)
class Options:
    """What an option file says of registries. ``tables``: older ways to say it, which don't go with a config_path."""

    version: int
    config_path: str
    tables: tuple[str, ...]

    @property
    def directory(self) -> Path | None:
        """The first of them is looked at first."""
        first = self.config_path.split(":")[0]
        return Path(first) if first else None


def hosts_toml(registry: str, ca: str) -> str:
    """``ca``: the CA's file, as a path on the node. 1.6 looks at the host's table, not at ``server`` alone."""
    return (
        f'{MARK}\nserver = "https://{registry}"\n\n'
        f'[host."https://{registry}"]\n'
        '  capabilities = ["pull", "resolve"]\n'
        f'  ca = "{ca}"\n'
    )


def read(text: str) -> Options:
    """From an option file, or what ``containerd config dump`` prints."""
    found = _VERSION.search(text)
    version = int(found[1]) if found else 2
    path, tables, here = "", [], ""
    for line in text.splitlines():
        table = _TABLE.match(line)
        if table:
            here = _section(table["name"])
            continue
        if here == "registry":
            value = _PATH.match(line)
            path = value["value"] if value else path
        elif (
            here.startswith(("registry.mirrors.", "registry.configs."))
            and line.strip()
            and not line.strip().startswith("#")
        ):
            tables.append(here)
    return Options(version, path, tuple(dict.fromkeys(tables)))


def _section(name: str) -> str:
    """The part of a table's name below the CRI's plug-in."""
    bare = re.sub(r"[\"'\s]", "", name)
    for plugin in _PLUGINS.values():
        prefix = f"plugins.{plugin}."
        if bare.startswith(prefix):
            return bare.removeprefix(prefix)
    return ""


def lines(version: int) -> list[str]:
    """What an option file lacks."""
    plugin = _PLUGINS.get(version, _PLUGINS[2])
    return [f"[plugins.'{plugin}'.registry]", f'  config_path = "{CERTS}"']


def with_config_path(text: str) -> str:
    """The option file with a config_path, each added line marked."""
    version = read(text).version
    table, setting = (f"{line} {MARK}" for line in lines(version))
    rows = text.splitlines()
    for number, row in enumerate(rows):
        found = _TABLE.match(row)
        if found and _section(found["name"]) == "registry":
            kept = rows[number + 1 :]
            end = next((i for i, other in enumerate(kept) if _TABLE.match(other)), len(kept))
            kept[:end] = [other for other in kept[:end] if not _PATH.match(other)]
            return "\n".join([*rows[: number + 1], setting, *kept]) + "\n"
    head = [] if _VERSION.search(text) else [f"version = 2 {MARK}"]
    return "\n".join([*head, *rows, *([""] if rows else []), table, setting]) + "\n"


def without_ours(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(MARK))


def files(registry: str, ca: str, directory: Path, *, on_node: Path | None = None) -> Mapping[Path, str]:
    """What is to lie below the directory; ``on_node``: where that will be on the node, if elsewhere."""
    place = directory / registry
    named = (on_node or directory) / registry / "ca.crt"
    return {place / "ca.crt": ca, place / "hosts.toml": hosts_toml(registry, str(named))}


def registries_yaml(registry: str, ca: str) -> str:
    """What k3s and RKE2 take (docs.k3s.io, Private Registry Configuration)."""
    return f'configs:\n  "{registry}":\n    tls:\n      ca_file: {ca}\n'
