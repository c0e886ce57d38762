# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder that something is in, by uid or by title; made where it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import InputError
from .client import GrafanaClient


@dataclass(frozen=True)
class Folder:
    """``uid`` is None where the server is yet to give one."""

    uid: str | None
    title: str
    exists: bool


class Folders:
    """The folders of one organisation."""

    def __init__(self, client: GrafanaClient) -> None:
        self._client = client

    def find(self, uid: str | None, title: str | None) -> Folder:
        """The folder, or what it will be.

        :raises InputError: where several have the title.
        """
        if uid:
            held = self._client.find_folder(uid)
            return Folder(uid, title or uid, False) if held is None else _folder(held)
        titled = [one for one in self._client.folders() if one.get("title") == title]
        if len(titled) > 1:
            uids = ", ".join(sorted(str(one["uid"]) for one in titled))
            raise InputError(f"folder: several folders have the title {title!r}; give folder_uid, one of {uids}")
        return _folder(titled[0]) if titled else Folder(None, title or "", False)

    def make(self, folder: Folder) -> str:
        """The uid of the folder, which is made where it is missing."""
        if folder.exists and folder.uid:
            return folder.uid
        body = {"title": folder.title} | ({"uid": folder.uid} if folder.uid else {})
        return str(self._client.create_folder(body)["uid"])


def _folder(held: Mapping[str, Any]) -> Folder:
    return Folder(str(held["uid"]), str(held["title"]), True)
