# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data sources with their secrets: read, compare, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import InputError
from .._outcome import Outcome
from .client import GrafanaClient
from .secrets import HASHES, HIDDEN, check_addresses, compared, flat, hashes_of
from .values import plain, same

SETTINGS = {
    "name": "name",
    "type": "type",
    "access": "access",
    "url": "url",
    "user": "user",
    "database": "database",
    "basic_auth": "basicAuth",
    "basic_auth_user": "basicAuthUser",
    "with_credentials": "withCredentials",
    "is_default": "isDefault",
    "json_data": "jsonData",
}
"""What may be declared, and the API's names."""
NEW: dict[str, Any] = {
    "access": "proxy",
    "url": "",
    "user": "",
    "database": "",
    "basic_auth": False,
    "basic_auth_user": "",
    "with_credentials": False,
    "is_default": False,
    "json_data": {},
}
"""What a new data source has where nothing is said."""


@dataclass(frozen=True)
class Wanted:
    """A data source as declared; what is not given is not among ``settings``, and secrets that are None stay."""

    name: str
    uid: str | None
    key: str
    settings: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] | None = None


def parse(params: Mapping[str, Any]) -> Wanted:
    """A data source as the module's options have it.

    :raises InputError: for what Grafana would refuse.
    """
    settings = {key: plain(params[key]) for key in SETTINGS if params[key] is not None}
    if HASHES in settings.get("json_data", {}):
        raise InputError(f"json_data: {HASHES} must not be among it")
    check_addresses("", {key: settings[key] for key in ("url", "json_data") if key in settings})
    secret = params["secure_json_data"]
    secrets = None if secret is None else flat("secure_json_data", secret)
    return Wanted(params["name"], params["uid"], params["hash_key"] or "", settings, secrets)


@dataclass(frozen=True)
class Held:
    """A data source as the server has it."""

    facts: dict[str, Any]
    kept: dict[str, Any]
    secrets: list[str]


def read(held: Mapping[str, Any]) -> Held:
    """A data source as the API has it."""
    settings = {key: plain(held.get(name)) for key, name in SETTINGS.items()}
    data = dict(settings["json_data"] or {})
    kept = data.pop(HASHES, None)
    secrets = sorted(key for key, there in (held.get("secureJsonFields") or {}).items() if there)
    made = {
        "uid": str(held["uid"]),
        **settings,
        "json_data": data,
        "secure_json_data": dict.fromkeys(secrets, HIDDEN),
        "read_only": bool(held.get("readOnly")),
    }
    return Held(made, dict(kept) if isinstance(kept, dict) else {}, secrets)


def shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What declarations are about, for the diff."""
    return {key: value for key, value in facts.items() if key != "read_only"}


class DataSources:
    """The data sources of one organisation."""

    def __init__(self, client: GrafanaClient, *, check: bool) -> None:
        self._client = client
        self._check = check

    def all(self) -> list[dict[str, Any]]:
        found = (self._client.find_data_source(str(one["uid"])) for one in self._client.data_sources())
        return sorted((read(one).facts for one in found if one is not None), key=lambda one: str(one["name"]))

    def find(self, name: str | None, uid: str | None) -> Held | None:
        """By its uid where that is given, else by its name."""
        held = self._client.find_data_source(uid) if uid else self._client.find_data_source_by_name(name or "")
        return None if held is None else read(held)

    def present(self, wanted: Wanted) -> Outcome:
        """Make a data source as it is wanted."""
        held = self.find(wanted.name, wanted.uid)
        if held is None and "type" not in wanted.settings:
            raise InputError(f"type: the data source {wanted.name} doesn't exist yet, so it needs a type")
        if held is not None:
            _check_ours(held)
        base = held.facts if held else NEW | {"uid": wanted.uid, "read_only": False}
        kept, there = (held.kept, held.secrets) if held else ({}, [])
        old, new = compared(wanted.secrets, wanted.key, there, kept)
        before = {} if held is None else shown(base | {"secure_json_data": old})
        after = shown(base | wanted.settings | {"secure_json_data": new})
        changed = held is None or not same(before, after)
        if not changed or self._check:
            value = base | wanted.settings | {"secure_json_data": dict.fromkeys(new, HIDDEN)}
            return Outcome(changed, before, after, value)
        self._write(wanted, base | wanted.settings, held)
        found = self.find(wanted.name, wanted.uid)
        return Outcome(True, before, after, found.facts if found else None)

    def _write(self, wanted: Wanted, settings: Mapping[str, Any], held: Held | None) -> None:
        body = {name: settings[key] for key, name in SETTINGS.items()}
        kept = dict(held.kept) if held else {}
        secrets = dict(wanted.secrets or {})
        if wanted.secrets is not None:
            kept = hashes_of(wanted.secrets, wanted.key, kept)
            # Grafana leaves what isn't named, so an empty one is what takes it away.
            secrets |= dict.fromkeys(set(held.secrets if held else []) - set(secrets), "")
        body["jsonData"] = body["jsonData"] | ({HASHES: kept} if kept else {})
        body["secureJsonData"] = secrets
        uid = settings.get("uid")
        if held is None:
            self._client.create_data_source(body | ({"uid": uid} if uid else {}))
        else:
            self._client.update_data_source(str(uid), body | {"uid": uid})

    def absent(self, wanted: Wanted) -> Outcome:
        """Remove a data source."""
        held = self.find(wanted.name, wanted.uid)
        if held is None:
            return Outcome(False, {}, {})
        _check_ours(held)
        if not self._check:
            self._client.delete_data_source(held.facts["uid"])
        return Outcome(True, shown(held.facts), {})


def _check_ours(held: Held) -> None:
    if held.facts["read_only"]:
        raise InputError(f"name: {held.facts['name']} is provisioned from a file of the server; change it there")


def as_new(wanted: Wanted) -> Outcome:
    """What a data source would be at a server that nothing is known of."""
    secrets = compared(wanted.secrets, wanted.key, (), {})[1]
    after = NEW | {"uid": wanted.uid, "read_only": False} | wanted.settings | {"secure_json_data": secrets}
    return Outcome(True, {}, shown(after), after)
