# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the image action plugins share: the table with its files, and the site's lock file. Control host only."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.plan import Item, items
from ansible_collections.mlops.onprem.plugins.module_utils._images.recipe import Table

COLLECTION = Path(__file__).resolve().parents[2]

_HEAD = """\
# What this site decided about its images; written by the role images, and held to from then on.
# source: what auto found (pull or build); remove the line to let it look again.
# upstream: the digest that the first pull of a reference found; remove a line to accept a new one.
---
"""


class LockFile:
    """The site's decisions: source and, by upstream reference, digests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        data = yaml.safe_load(path.read_text()) if path.is_file() else None
        if data is not None and not isinstance(data, Mapping):
            raise ImagesError(f"mlops_images_lock_file: {path} isn't a mapping")
        self.source: str | None = (data or {}).get("source")
        self.upstream: dict[str, str] = dict((data or {}).get("upstream") or {})
        if self.source not in {None, "pull", "build"}:
            raise ImagesError(f"mlops_images_lock_file: source in {path} is neither pull nor build")

    @classmethod
    @contextlib.contextmanager
    def editing(cls, path: Path) -> Iterator[LockFile]:
        """One writer at a time; written whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        guard = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            lock = cls(path)
            yield lock
            content = {
                **({"source": lock.source} if lock.source else {}),
                **({"upstream": dict(sorted(lock.upstream.items()))} if lock.upstream else {}),
            }
            draft = path.with_name(f".{path.name}.new")
            # Ansible's strings know where they come from, which YAML can't say: plain ones go in.
            draft.write_text(_HEAD + yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False))
            draft.replace(path)
        finally:
            os.close(guard)


class Site:
    """The arguments that image_plan and image_build have in common."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.lock_path = Path(arguments["lock_file"])
        self.lock = LockFile(self.lock_path)
        self.address: str = arguments["registry"]["address"]
        self.mirror: str = arguments.get("pull_mirror") or ""
        self.table = Table(arguments["artifacts"], COLLECTION, arguments.get("rootfs_from"))
        source = arguments.get("source") or "auto"
        self.source: str | None = self.lock.source if source == "auto" else source

    def items(self, names: list[str]) -> list[Item]:
        if self.source is None:
            raise ImagesError("source is auto, and nothing is decided yet: run image_plan first, or name the source")
        return items(
            self.table, names, address=self.address, source=self.source, digests=self.lock.upstream, mirror=self.mirror
        )
