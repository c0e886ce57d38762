# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The successor of the provisioning API: resources in the manner of Kubernetes, a namespace for each organisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._errors import RequestError
from .client import GrafanaClient, path

RULES = "rules.alerting.grafana.app"
NOTIFICATIONS = "notifications.alerting.grafana.app"
PROVENANCE = "grafana.com/provenance"
"""The annotation that locks: ``api`` where an API did, ``file``, or none."""
FOLDER = "grafana.app/folder"
NEITHER = (
    "This server has neither the provisioning API nor its successor: it must be Grafana 10 or newer, "
    "with its unified alerting switched on."
)

Json = dict[str, Any]


class Resources:
    """The resources of one kind.

    :param versions: those that we speak, the best first.
    :raises RequestError: where the server has none of them.
    """

    def __init__(self, client: GrafanaClient, group: str, kind: str, plural: str, versions: Sequence[str]) -> None:
        self._client = client
        self._kind = kind
        self.version = self._served(group, versions)
        self._api = f"{group}/{self.version}"
        org = client.current_org()
        namespace = "default" if org == 1 else f"org-{org}"
        self._path = path("apis", group, self.version, "namespaces", namespace, plural)
        self._namespace = namespace

    def _served(self, group: str, versions: Sequence[str]) -> str:
        where = path("apis", group)
        try:
            answer = self._client.get(where)
        except RequestError as error:
            if error.status == 404:
                error.hint = NEITHER
            raise
        served = [str(one.get("version")) for one in answer.get("versions") or []]
        for version in versions:
            if version in served:
                return version
        message = f"the server has the versions {', '.join(served)}, and this collection speaks {', '.join(versions)}"
        raise RequestError("GET", self._client.http.address(where), message)

    def all(self) -> list[Json]:
        found: list[Json] = []
        query = {"limit": "500"}
        while True:
            answer = self._client.get(self._path, query)
            found += answer.get("items") or []
            following = (answer.get("metadata") or {}).get("continue")
            if not following:
                return found
            query["continue"] = str(following)

    def find(self, name: str) -> Json | None:
        return self._client.find(f"{self._path}{path(name)}")

    def create(self, spec: Json, *, locked: bool, name: str = "", annotations: Mapping[str, str] | None = None) -> None:
        metadata: Json = {"namespace": self._namespace, "annotations": {**(annotations or {}), **_lock(locked)}}
        metadata |= {"name": name} if name else {"generateName": "mlops-"}
        self._client.send("POST", self._path, self._object(metadata, spec))

    def replace(self, held: Json, spec: Json, *, locked: bool, annotations: Mapping[str, str] | None = None) -> None:
        """Write a resource that was read; the server refuses it where another has written it since."""
        metadata = dict(held["metadata"])
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **(annotations or {}), **_lock(locked)}
        where = f"{self._path}{path(str(metadata['name']))}"
        self._client.send("PUT", where, self._object(metadata, spec))

    def delete(self, name: str) -> None:
        self._client.delete(f"{self._path}{path(name)}")

    def _object(self, metadata: Json, spec: Json) -> Json:
        return {"apiVersion": self._api, "kind": self._kind, "metadata": metadata, "spec": spec}


def annotation(held: Mapping[str, Any], key: str) -> str:
    """An annotation of a resource, empty where it has none."""
    return str(((held.get("metadata") or {}).get("annotations") or {}).get(key) or "")


def provenance(held: Mapping[str, Any]) -> str:
    """What has locked a resource, in the words of the provisioning API: empty for nothing."""
    found = annotation(held, PROVENANCE)
    return "" if found == "none" else found


def _lock(locked: bool) -> dict[str, str]:
    # Empty is what all versions take for none.
    return {PROVENANCE: "api" if locked else ""}
