# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards: read, compare, write."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import InputError
from .._outcome import Outcome
from .client import GrafanaClient
from .folders import Folder, Folders
from .values import plain, same

SERVERS_OWN = ("id", "version")
"""What the server counts by itself."""
UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
GENERAL = Folder("", "General", True)
"""The place of dashboards that are in no folder."""


@dataclass(frozen=True)
class Wanted:
    """A dashboard as declared."""

    uid: str
    model: dict[str, Any]
    message: str


def parse(params: Mapping[str, Any]) -> Wanted:
    """A dashboard as the module's options have it.

    :raises InputError: for what Grafana would refuse, or name by itself.
    """
    model = dict(plain(params["dashboard"] or {}))
    if isinstance(model.get("dashboard"), dict) and "panels" not in model:
        raise InputError("dashboard: give what is in its key dashboard, without what is around it")
    uid = params["uid"] or model.get("uid")
    if not uid:
        raise InputError("uid: the dashboard needs one, here or in itself: by it the next run finds it")
    if not isinstance(uid, str) or not UID.fullmatch(uid):
        raise InputError(f"uid: {uid!r} must be up to 40 letters, digits, hyphens and underscores")
    if model.get("uid") not in (None, "", uid):
        raise InputError(f"uid: the dashboard says {model['uid']} of itself, not {uid}")
    title = model.get("title")
    if params["state"] == "present" and (not isinstance(title, str) or not title.strip()):
        raise InputError("dashboard: must have a title")
    model = content(model) | {"uid": uid}
    if "title" in model:
        model["title"] = str(model["title"]).strip()
    if params["editable"] is not None:
        model["editable"] = params["editable"]
    return Wanted(uid, model, params["version_message"] or "")


def content(model: Mapping[str, Any]) -> dict[str, Any]:
    """What a dashboard says, without the server's own."""
    return {key: value for key, value in plain(model).items() if key not in SERVERS_OWN}


def facts(held: Mapping[str, Any]) -> dict[str, Any]:
    """A dashboard in the collection's form."""
    model, meta = held["dashboard"], held.get("meta") or {}
    return {
        "uid": str(model["uid"]),
        "title": str(model.get("title") or ""),
        "folder_uid": str(meta.get("folderUid") or ""),
        "folder": str(meta.get("folderTitle") or ""),
        "version": model.get("version"),
        "url": str(meta.get("url") or ""),
        "provisioned": bool(meta.get("provisioned")),
        "dashboard": content(model),
    }


def shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """What declarations are about, for the diff."""
    return {"folder": found["folder"], "dashboard": found["dashboard"]}


class Dashboards:
    """The dashboards of one organisation."""

    def __init__(self, client: GrafanaClient, *, check: bool) -> None:
        self._client = client
        self._folders = Folders(client)
        self._check = check

    def folder(self, params: Mapping[str, Any]) -> Folder:
        if params["folder_uid"] or params["folder"]:
            return self._folders.find(params["folder_uid"], params["folder"])
        return GENERAL

    def find(self, uid: str) -> dict[str, Any] | None:
        held = self._client.find_dashboard(uid)
        return None if held is None else facts(held)

    def all(self, folder: Folder | None) -> list[dict[str, Any]]:
        """Of all folders or one, each with its content."""
        found = (self.find(uid) for uid in self._uids(folder))
        return [one for one in found if one is not None]

    def _uids(self, folder: Folder | None) -> list[str]:
        if folder is not None and not folder.exists:
            return []
        return sorted(
            str(one["uid"])
            for one in self._client.dashboards()
            if folder is None or (one.get("folderUid") or "") == folder.uid
        )

    def present(self, wanted: Wanted, folder: Folder) -> Outcome:
        """Make a dashboard as it is wanted, in that folder."""
        held = self.find(wanted.uid)
        if held is not None:
            _check_ours(held)
        before = {} if held is None else shown(held)
        after = {"folder": folder.title, "dashboard": wanted.model}
        moved = held is not None and held["folder_uid"] != folder.uid
        changed = held is None or moved or not same(held["dashboard"], wanted.model)
        if not changed or self._check:
            if not moved and held is not None:
                after["folder"] = before["folder"]
            place = {"folder_uid": folder.uid, "folder": after["folder"], "dashboard": wanted.model}
            new = {"uid": wanted.uid, "version": None, "url": "", "provisioned": False}
            return Outcome(changed, before, after, (held or new) | {"title": wanted.model["title"]} | place)
        if not moved and held is not None:
            after["folder"] = before["folder"]
        uid = folder.uid if folder is GENERAL else self._folders.make(folder)
        # By its version, and not as an overwrite: that would take over another one of the same title in the folder.
        model = wanted.model | {"id": None, "version": held["version"] if held else 0}
        self._client.save_dashboard({"dashboard": model, "folderUid": uid, "message": wanted.message})
        return Outcome(True, before, after, self.find(wanted.uid))

    def absent(self, uid: str) -> Outcome:
        """Remove a dashboard; its folder stays."""
        held = self.find(uid)
        if held is None:
            return Outcome(False, {}, {})
        _check_ours(held)
        if not self._check:
            self._client.delete_dashboard(uid)
        return Outcome(True, shown(held), {})

    def prune(self, keep: Collection[str], folder: Folder) -> Outcome:
        """Remove the folder's dashboards but those of these uids; ``value`` has the uids of what went."""
        held = {one["uid"]: one for one in self.all(folder)}
        gone = [uid for uid in held if uid not in keep]
        for uid in gone:
            _check_ours(held[uid])
        for uid in [] if self._check else gone:
            self._client.delete_dashboard(uid)
        before = {uid: shown(one) for uid, one in held.items()}
        after = {uid: one for uid, one in before.items() if uid not in gone}
        return Outcome(bool(gone), before, after, {"removed": gone})


def _check_ours(held: Mapping[str, Any]) -> None:
    if held["provisioned"]:
        raise InputError(f"uid: the dashboard {held['uid']} is provisioned from a file of the server; change it there")


def as_new(wanted: Wanted, params: Mapping[str, Any]) -> Outcome:
    """What a dashboard would be at a server that nothing is known of."""
    folder = params["folder"] or params["folder_uid"] or GENERAL.title
    after = {"folder": folder, "dashboard": wanted.model}
    value = {"uid": wanted.uid, "title": wanted.model["title"], "folder_uid": params["folder_uid"], "version": None}
    return Outcome(True, {}, after, {**value, "url": "", "provisioned": False, **after})
