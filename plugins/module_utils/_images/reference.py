# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image references: the registry's address, the repository, the tag, the digest."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import ImagesError

_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


@dataclass(frozen=True)
class Reference:
    """`<registry>/<repository>[:tag][@digest]`; the registry is always named, Docker Hub's too."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        rest, at, digest = text.partition("@")
        if at and not _DIGEST.match(digest):
            raise ImagesError(f"{text!r} isn't an image reference: the digest isn't sha256:<64 hexadecimal digits>")
        first, slash, dummy = rest.partition("/")
        if not slash or not ("." in first or ":" in first or first == "localhost"):
            rest = "docker.io/" + (rest if slash else f"library/{rest}")
        registry, dummy, path = rest.partition("/")
        repository, dummy, tag = path.partition(":")
        if not re.match(r"^[a-z0-9]+([._/-]+[a-z0-9]+)*$", repository):
            raise ImagesError(f"{text!r} isn't an image reference")
        return cls(registry, repository, tag or None, digest or None)

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def is_loopback(address: str) -> bool:
    """True where the engine itself speaks plain HTTP to a registry: 127.0.0.0/8, ::1 and localhost."""
    host = address.partition("/")[0]
    host = host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]
    return host == "localhost" or host == "::1" or host.startswith("127.")
