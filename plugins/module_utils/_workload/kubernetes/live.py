# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is there: one reading of our namespaces, and the comparison of a live object with what it would become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import WorkloadError
from .api import Api, ApiError, selector
from .kinds import CONTROLLERS, MADE, NAMESPACE, POD, Key, Kind, key_of
from .site import KIND, SET, WORKLOAD, ZONE
from .site import NAMESPACE as OURS
from .words import words

PULL = "pull"  # the kind of a Pod that brings an image to a node
NOT_COMPARED = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "ownerReferences",
    "finalizers",
)
MISSING_RIGHTS = "Rights are missing on the cluster; nothing was changed"
# What tells the items of a list apart.
ITEM_KEYS = ("name", "mountPath", "key", "containerPort", "port", "ip", "topologyKey")


@dataclass
class Snapshot:
    """Our part of the cluster: the namespaces by name (None where there is none), our objects, our Pods."""

    namespace: str
    namespaces: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)

    @property
    def there(self) -> list[str]:
        return [name for name, found in self.namespaces.items() if found is not None]

    def of_set(self, set_name: str) -> dict[Key, dict[str, Any]]:
        return {key: thing for key, thing in self.objects.items() if label(thing, SET) == set_name}

    def controllers(self) -> dict[Key, dict[str, Any]]:
        """What runs Pods, of all sets."""
        names = [kind.name for kind in CONTROLLERS]
        return {key: thing for key, thing in self.objects.items() if key.kind in names and label(thing, SET)}

    def pods_of(self, main: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The Pods of a Deployment, StatefulSet or Job, newest first."""
        namespace, name = main["metadata"].get("namespace"), label(main, WORKLOAD)
        found = [
            pod
            for pod in self.pods
            if pod["metadata"]["namespace"] == namespace and label(pod, WORKLOAD) == name and belongs(pod, main)
        ]
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)

    def zones(self) -> dict[str, str | None]:
        return {str(label(thing, WORKLOAD)): label(thing, ZONE) for thing in self.controllers().values()}


def read(api: Api, namespace: str, namespaces: Sequence[str], *, objects: bool = True) -> Snapshot:
    """As many calls as there are kinds and namespaces, whatever the number of workloads, eight at a time. ``objects``
    false reads what a wait needs: what runs Pods, and the Pods. Says all that isn't allowed at once."""
    found = Snapshot(namespace)
    if objects:
        found.namespaces = find_namespaces(api, namespace, namespaces)
        namespaces = found.there
    kinds = (*(MADE if objects else CONTROLLERS), POD)
    jobs = [(kind, name) for name in namespaces for kind in kinds]
    scope = selector({OURS: namespace})

    def look(job: tuple[Kind, str]) -> list[dict[str, Any]] | ApiError:
        try:
            return api.items(*job, scope)
        except ApiError as error:
            if error.status != 403:
                raise
            return error

    answers = api.each(look, jobs)
    refused = [answer for answer in answers if isinstance(answer, ApiError)]
    if refused:
        problems = list(dict.fromkeys(words(error) for error in refused))
        raise Forbidden(MISSING_RIGHTS, problems=problems)
    for (kind, _name), things in zip(jobs, answers, strict=True):
        for thing in things if isinstance(things, list) else ():
            if kind is POD:
                found.pods.append(thing)
            else:
                found.objects[key_of(thing)] = thing
    return found


class Forbidden(WorkloadError):
    """Reading alone is refused already."""


def find_namespaces(api: Api, namespace: str, names: Sequence[str]) -> dict[str, dict[str, Any] | None]:
    homes = api.each(lambda name: _namespace(api, namespace, name), names)
    return dict(zip(names, homes, strict=True))


def _namespace(api: Api, ours: str, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] | None = api.find(NAMESPACE.path(None, name))
    except ApiError as error:
        if error.status != 403:
            raise
        if name != ours:
            return None  # the agent may see the second namespace only where it has been made for it
        raise Forbidden(MISSING_RIGHTS, problems=[words(error)]) from error
    return found


def label(thing: Mapping[str, Any], name: str) -> str | None:
    found = (thing["metadata"].get("labels") or {}).get(name)
    return None if found is None else str(found)


def annotation(thing: Mapping[str, Any], name: str) -> str | None:
    found = (thing["metadata"].get("annotations") or {}).get(name)
    return None if found is None else str(found)


def belongs(pod: Mapping[str, Any], main: Mapping[str, Any]) -> bool:
    """Whether a Pod of the workload is of this controller: two of them may be there while its kind changes, and the
    Pods of a Job that was replaced remain a while."""
    if label(pod, KIND) == PULL:
        return False
    owners = pod["metadata"].get("ownerReferences") or []
    if main["kind"] == "Deployment":
        return any(owner["kind"] == "ReplicaSet" for owner in owners)
    return any(owner.get("uid") == main["metadata"].get("uid") for owner in owners)


def comparable(thing: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what the server and its controllers keep there for themselves."""
    metadata = {
        key: value
        for key, value in thing["metadata"].items()
        if key not in (*NOT_COMPARED, "name", "namespace") and value not in ({}, None)
    }
    rest = {key: value for key, value in thing.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    return {**metadata, **rest}


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """The paths of the fields that differ, as short as they can be told."""
    before, after = _keyed(before, after), _keyed(after, before)
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[str] = []
        for key in sorted({*before, *after}, key=str):
            if before.get(key) != after.get(key):
                found += differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        if found or not path:
            return found
    return [short(path)]  # it may be the order alone


def short(path: str) -> str:
    """The container's fields without the way there; there is only one of them."""
    head = "spec.template.spec.containers."
    if path.startswith(head):
        return path.removeprefix(head).partition(".")[2] or "containers"
    for prefix in ("spec.template.spec.", "spec.template.metadata.", "spec.template.", "spec."):
        if path.startswith(prefix):
            return path.removeprefix(prefix)
    return path


def shown(thing: Mapping[str, Any]) -> dict[str, Any]:
    """An object as a diff shows it. A secret's values aren't: the object's name has a hash of them."""
    found = comparable(thing)
    if thing["kind"] == "Secret":
        return {"name": thing["metadata"]["name"], "keys": sorted(found.get("data") or {})}
    if thing["kind"] == "ConfigMap":
        return {"name": thing["metadata"]["name"], "data": found.get("data") or {}}
    return found


def mounted(thing: Mapping[str, Any]) -> list[Key]:
    """The ConfigMaps and Secrets that a controller's Pods mount."""
    namespace = str(thing["metadata"].get("namespace") or "")
    found = []
    for volume in thing["spec"].get("template", {}).get("spec", {}).get("volumes") or []:
        if "configMap" in volume:
            found.append(Key("ConfigMap", namespace, str(volume["configMap"].get("name"))))
        if "secret" in volume:
            found.append(Key("Secret", namespace, str(volume["secret"].get("secretName"))))
    return found


def _keyed(value: Any, other: Any) -> Any:
    """A list as a mapping, where its items have names; none at all is an empty one beside such a list."""
    if value is None and isinstance(other, list):
        return {} if isinstance(_keyed(other, []), dict) else None
    if not isinstance(value, list) or not (other is None or isinstance(other, (list, dict))):
        return value
    for key in ITEM_KEYS:
        if value and all(isinstance(item, dict) and key in item for item in value):
            names = [str(item[key]) for item in value]
            return dict(zip(names, value, strict=True)) if len(set(names)) == len(names) else value
    return {} if not value and isinstance(other, dict) else value
