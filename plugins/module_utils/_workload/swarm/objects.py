# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What services refer to: networks, configs, secrets, volumes, and the node labels that hold data in their place."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..base import Reporter
from ..engine import Engine, EngineError
from ..errors import WorkloadError
from ..rendering import encode
from .live import Snapshot, label, references, state
from .render import NAMESPACE, SET, WORKLOAD, Rendered, Site, network

SERVICE_ID = "com.docker.swarm.service.id"  # the engine's label on a task's container


@dataclass
class Unused:
    """Names of objects that no service refers to."""

    configs: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.configs or self.secrets or self.networks)


class Objects:
    def __init__(self, engine: Engine, site: Site, snapshot: Snapshot) -> None:
        self.engine = engine
        self.site = site
        self.snapshot = snapshot

    def missing(self, wanted: Sequence[Rendered]) -> dict[str, list[str]]:
        """What a run would create, by kind; nothing where all is there."""
        found = {
            "networks": sorted({self.site.network(zone) for item in wanted for zone in item.zones}),
            "configs": sorted({name for item in wanted for name in item.configs}),
            "secrets": sorted({name for item in wanted for name in item.secrets}),
            "placed": sorted(item.workload.name for item in wanted if item.pin and not self._pinned(item.pin)),
        }
        known = {
            "networks": self.snapshot.networks,
            "configs": self.snapshot.configs,
            "secrets": self.snapshot.secrets,
        }
        left = {kind: [name for name in names if name not in known.get(kind, ())] for kind, names in found.items()}
        return {kind: names for kind, names in left.items() if names}

    def create(self, wanted: Sequence[Rendered], report: Reporter) -> None:
        """Networks, configs, secrets and pins that are missing; the snapshot knows them afterwards."""
        for zone in dict.fromkeys(zone for item in wanted for zone in item.zones):
            self._network(zone, report)
        for item in wanted:
            if item.pin:
                self._pin(item, report)
            labels = self.site.labels(item.workload.name)
            for name, content in item.configs.items():
                self._store("configs", name, content, labels, self.snapshot.configs)
            shared = {key: value for key, value in labels.items() if key != WORKLOAD}
            for name, content in item.secrets.items():
                self._store("secrets", name, content, shared, self.snapshot.secrets)

    def unused(self, set_name: str, left_by: Iterable[Mapping[str, Any]] | None) -> Unused:
        """The set's configs and secrets, and the namespace's networks, that no service in the snapshot refers to.

        Of the networks only those that these services left, where any are given: another run may have just made one.
        """
        configs, secrets, networks = references(self.snapshot.services.values())
        left = None if left_by is None else references(left_by)[2]
        return Unused(
            configs=[
                name
                for name, item in self.snapshot.configs.items()
                if label(item, SET) == set_name and name not in configs
            ],
            secrets=[
                name
                for name, item in self.snapshot.secrets.items()
                if label(item, SET) == set_name and name not in secrets
            ],
            networks=[
                name
                for name, item in self.snapshot.networks.items()
                if (item.get("Labels") or {}).get(NAMESPACE) == self.snapshot.namespace
                and item["Id"] not in networks
                and (left is None or item["Id"] in left)
            ],
        )

    def remove(self, unused: Unused, report: Reporter, timeout: float) -> None:
        for kind, known in (("configs", self.snapshot.configs), ("secrets", self.snapshot.secrets)):
            for name in getattr(unused, kind):
                try:
                    self.engine.delete(f"/{kind}/{known[name]['ID']}")
                except EngineError as error:
                    if "in use" not in str(error):
                        raise  # another run has begun to use it: it isn't ours to collect now
        for name in unused.networks:
            report(f"removing the network {name}")
            self._until_free(f"/networks/{self.snapshot.networks[name]['Id']}", f"the network {name}", timeout)

    def ended(self, set_name: str, names: Sequence[str] | None = None) -> list[str]:
        """Containers on this node of the set's jobs that are gone: Swarm leaves them there (moby/moby#42789)."""
        scope = [f"{NAMESPACE}={self.site.namespace}", f"{SET}={set_name}", SERVICE_ID]
        found = self.engine.get("/containers/json", all=True, filters={"label": scope, "status": ["exited"]})
        live = {service["ID"] for service in self.snapshot.services.values()}
        return [
            item["Id"]
            for item in found
            if item["Labels"][SERVICE_ID] not in live and (names is None or item["Labels"].get(WORKLOAD) in names)
        ]

    def remove_ended(self, containers: Iterable[str]) -> None:
        for container in containers:
            try:
                self.engine.delete(f"/containers/{container}")
            except EngineError as error:
                if error.status != 409:  # Swarm is at it, which it does for what is no job
                    raise

    def volumes(self, set_name: str, names: Sequence[str] | None) -> list[str]:
        """The set's volumes on this node (no other node's can be seen from here)."""
        scope = {"label": [f"{NAMESPACE}={self.site.namespace}", f"{SET}={set_name}"]}
        found = self.engine.get("/volumes", filters=scope).get("Volumes") or []
        return [
            volume["Name"] for volume in found if names is None or (volume.get("Labels") or {}).get(WORKLOAD) in names
        ]

    def remove_volumes(self, names: Sequence[str], report: Reporter, timeout: float) -> None:
        for name in names:
            report(f"removing the volume {name}")
            self._until_free(f"/volumes/{name}", f"the volume {name}", timeout)

    def pins(self, names: Sequence[str] | None) -> list[tuple[str, str]]:
        """(node id, label) of the workloads of these names; all of those that no service needs, when none are given."""
        prefix = self.site.pin("")
        used = {
            constraint.removeprefix("node.labels.").partition("==")[0]
            for service in self.snapshot.services.values()
            for constraint in (service["Spec"]["TaskTemplate"].get("Placement") or {}).get("Constraints") or []
        }
        found = []
        for node in self.snapshot.nodes:
            for name in node["Spec"].get("Labels") or {}:
                ours = name.startswith(prefix) and (names is None or name.removeprefix(prefix) in names)
                if ours and name not in used:
                    found.append((node["ID"], name))
        return found

    def remove_pins(self, pins: Iterable[tuple[str, str]]) -> None:
        for node_id, name in pins:
            self._label_node(node_id, name, None)

    def _network(self, zone: str, report: Reporter) -> None:
        spec = network(self.site.namespace, zone)
        name, internal = spec["Name"], spec["Internal"]
        found = self.snapshot.networks.get(name)
        if found is not None:
            if found["Driver"] != "overlay" or bool(found.get("Internal")) != internal:
                raise WorkloadError(
                    f"The network {name} was made by somebody else, not as this namespace needs it "
                    f"(overlay, {'internal' if internal else 'not internal'}): remove it, then run again"
                )
            return
        report(f"creating the network {name}")
        try:
            created = self.engine.post("/networks/create", spec)
            self.snapshot.networks[name] = {**spec, "Id": created["Id"], "Scope": "swarm"}
        except EngineError as error:
            if error.status != 409:
                raise
            self.snapshot.networks[name] = self.engine.get(f"/networks/{name}")  # another run was faster
        self.snapshot.network_names[self.snapshot.networks[name]["Id"]] = name

    def _store(
        self, kind: str, name: str, content: bytes, labels: Mapping[str, str], known: dict[str, dict[str, Any]]
    ) -> None:
        if name in known:
            return
        spec = {"Name": name, "Labels": dict(labels)}
        try:
            created = self.engine.post(f"/{kind}/create", {**spec, "Data": encode(content)})
            known[name] = {"ID": created["ID"], "Spec": spec}
        except EngineError as error:
            if error.status != 409:
                raise
            known[name] = self.engine.get(f"/{kind}/{name}")

    def _pinned(self, pin: str) -> list[dict[str, Any]]:
        return [node for node in self.snapshot.nodes if (node["Spec"].get("Labels") or {}).get(pin) == "true"]

    def _pin(self, item: Rendered, report: Reporter) -> None:
        """At the first placement the node gets a label; from then on the workload runs there and nowhere else."""
        if item.pin is None:
            raise AssertionError("item.pin")
        pinned = self._pinned(item.pin)
        if len(pinned) > 1:
            names = ", ".join(self.snapshot.node_name(node["ID"]) for node in pinned)
            raise WorkloadError(
                f"{item.workload.name}: its data are said to be on several nodes ({names}): "
                f"take the label {item.pin} off all but the one that has them"
            )
        if pinned:
            return
        node = self._data_node(item) or self._best_node(item)
        report(f"{item.workload.name}: its data live on {self.snapshot.node_name(node['ID'])}")
        self._label_node(node["ID"], item.pin, "true")
        node["Spec"].setdefault("Labels", {})[item.pin] = "true"

    def _data_node(self, item: Rendered) -> dict[str, Any] | None:
        """Where the workload ran before, or where a volume of its name is: somebody took the label off."""
        nodes = {node["ID"]: node for node in self.snapshot.nodes}
        tasks = self.snapshot.tasks_of(item.name)
        for task in sorted(tasks, key=lambda task: state(task) != "running"):
            if task.get("NodeID") in nodes and (task["Status"].get("ContainerStatus") or {}).get("ContainerID"):
                return nodes[task["NodeID"]]
        mounts = item.spec["TaskTemplate"]["ContainerSpec"]["Mounts"]
        sources = [mount["Source"] for mount in mounts if mount["Type"] == "volume"]
        if any(self.engine.find(f"/volumes/{source}") is not None for source in sources):
            return nodes.get(self.engine.get("/info")["Swarm"]["NodeID"])
        return None

    def _best_node(self, item: Rendered) -> dict[str, Any]:
        """Of the nodes that may run it, the one that holds the fewest other data."""
        others = [constraint for constraint in item.constraints if str(item.pin) not in constraint]
        candidates = self.snapshot.ready_nodes(others)
        if not candidates:
            raise WorkloadError(
                f"{item.workload.name}: no ready node meets its placement ({', '.join(others) or 'any node'})"
            )
        prefix = self.site.pin("")
        return min(
            candidates,
            key=lambda node: (sum(name.startswith(prefix) for name in node["Spec"].get("Labels") or {}), node["ID"]),
        )

    def _label_node(self, node_id: str, name: str, value: str | None) -> None:
        for attempt in range(8):
            node = self.engine.get(f"/nodes/{node_id}")
            labels = dict(node["Spec"].get("Labels") or {})
            labels.pop(name, None)
            if value is not None:
                labels[name] = value
            try:
                self.engine.post(
                    f"/nodes/{node_id}/update",
                    {**node["Spec"], "Labels": labels},
                    version=str(node["Version"]["Index"]),
                )
                return
            except EngineError as error:
                if "out of sequence" not in str(error) or attempt == 7:
                    raise
                time.sleep(0.1)

    def _until_free(self, path: str, what: str, timeout: float) -> None:
        """Removes; the engine refuses for as long as a container of a removed service is still going down."""
        until = time.monotonic() + timeout
        while True:
            try:
                self.engine.delete(path)
                return
            except EngineError as error:
                if error.status not in (400, 403, 409, 500) or (
                    "use" not in str(error) and "endpoints" not in str(error)
                ):
                    raise
                if time.monotonic() > until:
                    raise WorkloadError(f"Removing {what} failed for {timeout:g} s: {error}") from error
                time.sleep(0.2)
