# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A workload's files and directories: ConfigMap, Secret, claims, and how a Pod mounts them."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model import Volume, Workload, canonical
from ..rendering import encode, secret_contents
from .quantity import size
from .site import KubernetesSite, manifest

OBJECT_LIMIT = 2**20  # bytes of all the values in a ConfigMap or a Secret
KEY_LIMIT = 253
DEFAULT_SIZE = 10 * 2**30  # of a volume that says nothing: a claim must
_NOT_IN_KEYS = re.compile(r"[^-._a-zA-Z0-9]")


@dataclass
class Files:
    """``objects`` come before the Pod; ``volumes`` and ``mounts`` go into it."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def files(workload: Workload, site: KubernetesSite, problems: list[str], at: str) -> Files:
    found = Files()
    _configs(workload, site, problems, at, found)
    _secrets(workload, site, problems, at, found)
    for volume in workload.volumes:
        _volume(workload, volume, site, found)
    for index, scratch in enumerate(workload.scratch):
        name = f"scratch-{index}"
        found.volumes.append({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size(scratch.size)}})
        found.mounts.append({"name": name, "mountPath": scratch.path})
    for mount in found.mounts:
        if ":" in mount["mountPath"]:
            problems.append(f"{at}: Kubernetes takes no colon in a path: {mount['mountPath']}")
    return found


def claim_name(workload: str, volume: str) -> str:
    return f"{workload}-{volume}"


def _configs(workload: Workload, site: KubernetesSite, problems: list[str], at: str, found: Files) -> None:
    if not workload.configs:
        return
    data: dict[str, str] = {}
    items = []
    for config in workload.configs:
        key = _key(config.path, data)
        data[key] = config.content
        items.append(_item(key, key, config.mode))
        found.mounts.append({"name": "config", "mountPath": config.path, "subPath": key, "readOnly": True})
    _fits({key: text.encode() for key, text in data.items()}, problems, f"{at}.configs")
    seed = canonical([site.set_name, workload.name, data])
    name = f"{workload.name}-config-{hashlib.sha256(seed.encode()).hexdigest()[:16]}"
    found.objects.append(_object("ConfigMap", name, workload, site, data=data))
    found.volumes.append({"name": "config", "configMap": {"name": name, "items": items}})


def _secrets(workload: Workload, site: KubernetesSite, problems: list[str], at: str, found: Files) -> None:
    """A key is the secret's name, whatever paths it is mounted at."""
    if not workload.secrets:
        return
    data: dict[str, bytes] = {}
    hashes: dict[str, str] = {}
    items = []
    taken: dict[str, str] = {}
    for _index, secret, value, digest in secret_contents(workload, site, problems, at):
        data[secret.name] = value.encode()
        hashes[secret.name] = digest
        file = _key(secret.path, taken)
        taken[file] = secret.path
        items.append(_item(secret.name, file, secret.mode))
        found.mounts.append({"name": "secret", "mountPath": secret.path, "subPath": file, "readOnly": True})
    _fits(data, problems, f"{at}.secrets")
    seed = canonical([site.set_name, workload.name, hashes])
    name = f"{workload.name}-secret-{hashlib.sha256(seed.encode()).hexdigest()[:16]}"
    coded = {key: encode(content) for key, content in data.items()}
    found.objects.append(_object("Secret", name, workload, site, type="Opaque", data=coded))
    found.volumes.append({"name": "secret", "secret": {"secretName": name, "items": items}})


def _volume(workload: Workload, volume: Volume, site: KubernetesSite, found: Files) -> None:
    name = f"volume-{volume.name}"
    found.mounts.append({"name": name, "mountPath": volume.path})
    if volume.scope == "node":
        limit = {} if volume.size is None else {"sizeLimit": size(volume.size)}
        found.volumes.append({"name": name, "emptyDir": limit})
        found.notes.append(
            f"{workload.name}.volumes.{volume.name}: each replica has a cache of its own here, empty at its start: "
            "a directory of the node is closed to it"
        )
        return
    if volume.size is None:
        found.notes.append(f"{workload.name}.volumes.{volume.name}: has no size, so it asks for {size(DEFAULT_SIZE)}")
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size(volume.size or DEFAULT_SIZE)}},
    }
    if site.storage_class:
        spec["storageClassName"] = site.storage_class
    claim = claim_name(workload.name, volume.name)
    namespace = site.namespace_of(workload)
    found.objects.append(manifest("v1", "PersistentVolumeClaim", claim, namespace, site.labels(workload), spec=spec))
    found.volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim}})


def _object(kind: str, name: str, workload: Workload, site: KubernetesSite, **fields: Any) -> dict[str, Any]:
    namespace = site.namespace_of(workload)
    return manifest("v1", kind, name, namespace, site.labels(workload), immutable=True, **fields)


def _key(path: str, taken: Mapping[str, Any]) -> str:
    """A key that shows the file's name; with a hash of the path where two files have one name."""
    name = _NOT_IN_KEYS.sub("_", posixpath.basename(path))
    digest = hashlib.sha256(path.encode()).hexdigest()[:8]
    if name in taken or name.startswith("..") or name == "." or len(name) > KEY_LIMIT:
        name = f"{digest}-{name.lstrip('.')}"[:KEY_LIMIT]
    return name


def _item(key: str, path: str, mode: str) -> dict[str, Any]:
    """A file belongs to root and the workload's group, so what its owner may, the group must."""
    bits = int(mode, 8)
    return {"key": key, "path": path, "mode": bits | (bits & 0o700) >> 3}


def _fits(data: Mapping[str, bytes], problems: list[str], where: str) -> None:
    total = sum(len(content) for content in data.values())
    if total > OBJECT_LIMIT:
        problems.append(f"{where}: they have {total} bytes together, Kubernetes takes {OBJECT_LIMIT}")
