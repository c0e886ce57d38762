# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Small images for a bed's nodes, made from this machine's files: no registry is asked."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from nodes import BedError

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
APPLETS = (
    *("cat", "chmod", "cp", "date", "dd", "df", "echo", "env", "false", "grep", "head", "hostname", "httpd", "id"),
    *("ip", "ls", "mkdir", "mv", "nc", "nslookup", "ping", "printf", "ps", "rm", "sed", "sh", "sha256sum", "sleep"),
    *("stat", "sync", "tail", "tar", "test", "touch", "tr", "true", "wc", "wget"),
)


def busybox_files(directory: Path) -> dict[str, Path]:
    """The files of an image with busybox alone, by their paths in it: of this machine's package sources, or its own.

    A dynamic one with its libraries: a static one of glibc can't look names up. ``directory`` gets the package.
    """
    package = _download("busybox", directory)
    program = Path(shutil.which("busybox") or "/nowhere")
    if package:
        subprocess.run(["dpkg-deb", "-x", str(package), str(directory)], check=True)
        program = next(path for path in directory.rglob("bin/busybox"))
    elif not program.exists():
        raise BedError("no busybox: neither on this machine nor among its package sources")
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", listed)
    return {"bin/busybox": program, **{path.lstrip("/"): Path(path).resolve() for path in libraries}}


def _download(name: str, directory: Path) -> Path | None:
    """A package of this machine's sources, whose lists are brought up to date where it isn't found."""
    if not shutil.which("apt-get"):
        return None
    for command in (["download", name], ["-qq", "update"], ["download", name]):
        subprocess.run(["apt-get", *command], cwd=directory, capture_output=True)
        if packages := list(directory.glob("*.deb")):
            return packages[0]
    return None


def busybox(directory: Path, name: str) -> bytes:
    """An archive of an image with busybox, a shell first of all; ``directory`` gets the package."""
    files = {path: file.read_bytes() for path, file in busybox_files(directory).items()}
    links = {f"bin/{applet}": "busybox" for applet in APPLETS}
    accounts = {"etc/passwd": b"root:x:0:0::/:/bin/sh\n", "etc/group": b"root:x:0:\n"}
    config = {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "User": "10001:10001", "WorkingDir": "/"}
    return archive(name, {**files, **accounts}, config, links, ("dev", "proc", "sys", "tmp"))


def archive(
    name: str,
    files: dict[str, bytes],
    config: dict[str, Any],
    links: dict[str, str] | None = None,
    directories: tuple[str, ...] = (),
) -> bytes:
    """An image of one layer, as `docker save` writes it; the same input gives the same bytes."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in directories:
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(entry)
        for path, content in files.items():
            _add(tar, path, content)
        for path, target in (links or {}).items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    description = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as tar:
        _add(tar, "config.json", json.dumps(description).encode())
        _add(tar, "layer.tar", layer.getvalue())
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return image.getvalue()


def _add(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))
