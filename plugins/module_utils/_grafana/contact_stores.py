# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where contact points are kept: the provisioning API, integration by integration, or its successor, as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Protocol

from .apis import NOTIFICATIONS, Resources, provenance
from .client import GrafanaClient
from .integrations import Integration, facts, kept_for, read
from .policies import receivers_in
from .policy_trees import tree_store
from .secrets import HASHES, REDACTED, nested
from .values import same

Pairs = Sequence[tuple[Integration, Optional[Integration]]]  # noqa: UP045  ansible-test knows Python 3.8
"""What is wanted, with what it is now."""


@dataclass(frozen=True)
class ContactPoint:
    """``provenances`` are what has locked its integrations, by uid."""

    name: str
    integrations: list[Integration]
    provenances: dict[str, str]

    @property
    def locked_by(self) -> list[str]:
        return sorted({*self.provenances.values()} - {""})

    @property
    def locked(self) -> bool:
        return bool(self.provenances) and all(self.provenances.values())


class ContactStore(Protocol):
    """One organisation's contact points."""

    def all(self, name: str | None = None) -> list[ContactPoint]: ...

    def write(self, name: str, pairs: Pairs, held: ContactPoint | None, /, *, key: str, locked: bool) -> None: ...

    def remove(self, held: ContactPoint) -> None: ...

    def types(self) -> list[dict[str, Any]]:
        """What the server knows of types of integrations."""


def contact_store(client: GrafanaClient) -> ContactStore:
    """The provisioning API where the server has it, else its successor."""
    return Provisioning(client) if client.provisions("contact-points") else Receivers(client)


def used(client: GrafanaClient, name: str) -> bool:
    """Whether a notification policy tells this contact point."""
    tree, _locked_by = tree_store(client).read()
    return name in receivers_in(tree)


def _settings(one: Integration, kept: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    return nested(secrets, one.settings) | ({HASHES: dict(kept)} if kept else {})


class Provisioning:
    """Contact points through the provisioning API: integrations that share a name."""

    def __init__(self, client: GrafanaClient) -> None:
        self._client = client

    def types(self) -> list[dict[str, Any]]:
        return self._client.integration_types()

    def all(self, name: str | None = None) -> list[ContactPoint]:
        found: dict[str, ContactPoint] = {}
        for held in self._client.integrations(name):
            one = read(held.get("uid"), held["type"], held.get("settings") or {}, held.get("disableResolveMessage"))
            point = found.setdefault(str(held["name"]), ContactPoint(str(held["name"]), [], {}))
            point.integrations.append(one)
            point.provenances[one.uid or ""] = str(held.get("provenance") or "")
        for point in found.values():
            point.integrations.sort(key=lambda one: (one.kind, one.uid or ""))
        return [found[name] for name in sorted(found)]

    def write(self, name: str, pairs: Pairs, held: ContactPoint | None, *, key: str, locked: bool) -> None:
        for one, other in pairs:
            kept = kept_for(one, other, key)
            # What stays is named as Grafana shows it.
            secrets = dict.fromkeys(other.secrets or {}, REDACTED) if one.secrets is None and other else one.secrets
            body = {
                "name": name,
                "type": one.kind,
                "settings": _settings(one, kept, secrets or {}),
                "disableResolveMessage": one.disable_resolve_message,
            }
            if other is None:
                self._client.create_integration(body | ({"uid": one.uid} if one.uid else {}), locked=locked)
                continue
            uid = other.uid or ""
            was = (held.provenances if held else {}).get(uid, "")
            if was and not locked:
                self._unlock(uid, body)
            elif bool(was) != locked or not _unchanged(one, other, kept):
                self._client.update_integration(uid, body, locked=locked)
        stay = [other for _one, other in pairs]
        # Last, so that a contact point in use is never without any.
        for one in held.integrations if held else []:
            if one not in stay:
                self._client.delete_integration(one.uid or "")

    def _unlock(self, uid: str, body: Mapping[str, Any]) -> None:
        """Grafana unlocks nothing: one that isn't locked takes its place, and a second one waits in between."""
        stand_in = self._client.create_integration(dict(body), locked=False)
        self._client.delete_integration(uid)
        self._client.create_integration({**body, "uid": uid}, locked=False)
        self._client.delete_integration(str(stand_in["uid"]))

    def remove(self, held: ContactPoint) -> None:
        for one in held.integrations:
            self._client.delete_integration(one.uid or "")


def _unchanged(one: Integration, other: Integration, kept: Mapping[str, Any]) -> bool:
    names = other.secrets or {}
    as_now = facts(one, {}, uid=other.uid)
    return (
        same(as_now, facts(other, {}))
        and dict(kept) == other.kept
        and (one.secrets is None or set(one.secrets) == set(names))
    )


class Receivers:
    """Contact points through ``notifications.alerting.grafana.app``.

    v0alpha1 comes first: its settings are free, so that the hashes of secrets have a place among them.
    """

    def __init__(self, client: GrafanaClient) -> None:
        self._resources = Resources(client, NOTIFICATIONS, "Receiver", "receivers", ("v0alpha1", "v1beta1"))

    def types(self) -> list[dict[str, Any]]:
        return []

    def all(self, name: str | None = None) -> list[ContactPoint]:
        found = [held for held in self._resources.all() if name in (None, held["spec"]["title"])]
        return sorted(map(_point, found), key=lambda point: point.name)

    def _held(self, name: str) -> dict[str, Any] | None:
        return next((held for held in self._resources.all() if held["spec"]["title"] == name), None)

    def write(self, name: str, pairs: Pairs, _held: ContactPoint | None, /, *, key: str, locked: bool) -> None:
        resource = self._held(name)
        known = {one.get("uid"): one for one in (resource or {"spec": {}})["spec"].get("integrations") or []}
        integrations = []
        for one, other in pairs:
            uid = one.uid or (other.uid if other else None)
            made = {
                "type": one.kind,
                "version": str(known.get(uid, {}).get("version") or "v1"),
                "disableResolveMessage": one.disable_resolve_message,
                "settings": _settings(one, kept_for(one, other, key), one.secrets or {}),
            }
            if one.secrets is None and other is not None:
                made["secureFields"] = dict.fromkeys(other.secrets or {}, True)
            integrations.append(made | ({"uid": uid} if uid else {}))
        spec = {"title": name, "integrations": integrations}
        if resource is None:
            self._resources.create(spec, locked=locked)
        else:
            self._resources.replace(resource, spec, locked=locked)

    def remove(self, held: ContactPoint) -> None:
        resource = self._held(held.name)
        if resource is not None:
            self._resources.delete(str(resource["metadata"]["name"]))


def _point(held: Mapping[str, Any]) -> ContactPoint:
    ones = [
        read(
            one.get("uid"),
            one["type"],
            one.get("settings") or {},
            one.get("disableResolveMessage"),
            [name for name, there in (one.get("secureFields") or {}).items() if there],
        )
        for one in held["spec"].get("integrations") or []
    ]
    ones.sort(key=lambda one: (one.kind, one.uid or ""))
    return ContactPoint(str(held["spec"]["title"]), ones, {one.uid or "": provenance(held) for one in ones})
