# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is there: one reading of the cluster, and the comparison of a live service with a rendered one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..engine import Engine, EngineError
from ..errors import WorkloadError
from ..rendering import decode
from .render import KIND, NAMESPACE, SET, WORKLOAD, Rendered

# Task states in which nothing more will happen.
FAILED = ("failed", "rejected", "orphaned")
ENDED = (*FAILED, "complete", "shutdown", "remove")
ROLLING = ("updating", "rollback_started")
PULL = "pull"
# In these a value that says nothing elsewhere (0, empty) says something.
VERBATIM = ("Env", "Labels", "Mode")
KEYED = ("Env", "Labels", "Configs", "Secrets", "Mounts", "Networks", "Ports")


@dataclass
class Snapshot:
    """The namespace's part of the cluster. Services and networks by name, tasks by service id, newest first."""

    namespace: str
    nodes: list[dict[str, Any]]
    services: dict[str, dict[str, Any]]
    tasks: dict[str, list[dict[str, Any]]]
    networks: dict[str, dict[str, Any]]
    network_names: dict[str, str]
    configs: dict[str, dict[str, Any]]
    secrets: dict[str, dict[str, Any]]

    def of_set(self, set_name: str) -> dict[str, dict[str, Any]]:
        return {name: service for name, service in self.services.items() if label(service, SET) == set_name}

    def tasks_of(self, name: str) -> list[dict[str, Any]]:
        service = self.services.get(name)
        return self.tasks.get(service["ID"], []) if service else []

    def node_name(self, node_id: str | None) -> str:
        for node in self.nodes:
            if node["ID"] == node_id:
                return str(node.get("Description", {}).get("Hostname") or node_id)
        return str(node_id or "no node")

    def ready_nodes(self, constraints: list[str] | None = None) -> list[dict[str, Any]]:
        return [
            node
            for node in self.nodes
            if node["Status"]["State"] == "ready"
            and node["Spec"].get("Availability") == "active"
            and meets(node, constraints or [])
        ]


def read(engine: Engine, namespace: str, *, objects: bool = True) -> Snapshot:
    """A handful of calls, whatever the number of workloads; ``objects`` false leaves out what a wait doesn't need."""
    services, tasks = _services(engine, namespace)
    networks, names = {}, {}
    if objects:
        for network in engine.get("/networks"):
            names[network["Id"]] = network["Name"]
            if network["Scope"] == "swarm" and network["Name"].startswith(f"{namespace}_"):
                networks[network["Name"]] = network
    scope = {"label": [f"{NAMESPACE}={namespace}"]}
    return Snapshot(
        namespace=namespace,
        nodes=engine.get("/nodes") if objects else [],
        services=services,
        tasks=tasks,
        networks=networks,
        network_names=names,
        configs=_by_name(engine.get("/configs", filters=scope)) if objects else {},
        secrets=_by_name(engine.get("/secrets", filters=scope)) if objects else {},
    )


def label(thing: Mapping[str, Any], name: str) -> str | None:
    labels = thing["Spec"].get("Labels") if "Spec" in thing else thing.get("Labels")
    found = (labels or {}).get(name)
    return None if found is None else str(found)


def meets(node: Mapping[str, Any], constraints: list[str]) -> bool:
    """Whether a node satisfies the constraints that rendering makes (labels and role, by equality)."""
    labels = node["Spec"].get("Labels") or {}
    for constraint in constraints:
        key, dummy, value = constraint.partition("==")
        role = key == "node.role"
        found = node["Spec"].get("Role") if role else labels.get(key.removeprefix("node.labels."))
        if found != value:
            return False
    return True


def comparable(spec: Mapping[str, Any], network_names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A spec without what says nothing: empty values, the engine's defaults, ids, and order where it has no meaning.

    Live and rendered specs of the same service come out equal.
    """
    names = network_names or {}
    template = dict(spec.get("TaskTemplate") or {})
    container = dict(template.get("ContainerSpec") or {})
    container["Env"] = {item.partition("=")[0]: item.partition("=")[2] for item in container.get("Env") or []}
    container["Mounts"] = _keyed(container.get("Mounts"), "Target")
    container["Configs"] = _files(container.get("Configs"), "ConfigID")
    container["Secrets"] = _files(container.get("Secrets"), "SecretID")
    for field in ("CapabilityAdd", "CapabilityDrop"):
        container[field] = sorted(str(item).removeprefix("CAP_") for item in container.get(field) or [])
    container["Groups"] = sorted(container.get("Groups") or [])
    if container.get("Isolation") == "default":
        del container["Isolation"]
    networks = [
        {**network, "Target": names.get(network["Target"], network["Target"])}
        for network in template.get("Networks") or spec.get("Networks") or []
    ]
    placement = dict(template.get("Placement") or {})
    placement.pop("Platforms", None)
    placement["Constraints"] = sorted("".join(item.split()) for item in placement.get("Constraints") or [])
    template.update(ContainerSpec=container, Networks=_keyed(networks, "Target"), Placement=placement)
    template.pop("ForceUpdate", None)  # counts somebody's restarts: no state to put right
    if template.get("Runtime") == "container":
        del template["Runtime"]
    endpoint = dict(spec.get("EndpointSpec") or {})
    ports = [{"Protocol": "tcp", **port} for port in endpoint.get("Ports") or []]
    endpoint["Ports"] = {f"{port.get('TargetPort')}/{port['Protocol']}": port for port in ports}
    rest = {key: value for key, value in spec.items() if key not in ("TaskTemplate", "EndpointSpec", "Networks")}
    pruned = _pruned({**rest, "TaskTemplate": template, "EndpointSpec": endpoint})
    return pruned if isinstance(pruned, dict) else {}


def same_task(task: Mapping[str, Any], service: Mapping[str, Any]) -> bool:
    """Whether a task is of the service's present spec. Changed constraints that its node meets don't replace it."""
    ignored = ("Runtime", "Placement")
    old, new = task.get("Spec") or {}, service["Spec"]["TaskTemplate"]
    return {key: value for key, value in old.items() if key not in ignored} == {
        key: value for key, value in new.items() if key not in ignored
    }


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """The paths of the fields that differ, as short as they can be told."""
    if path.rpartition(".")[2] in KEYED:
        before, after = before or {}, after or {}
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[str] = []
        for key in sorted({*before, *after}, key=str):
            if before.get(key) != after.get(key):
                found += differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        return found
    for prefix in ("TaskTemplate.ContainerSpec.", "TaskTemplate."):
        if path.startswith(prefix):
            return [path.removeprefix(prefix)]
    return [path]


def shown(spec: dict[str, Any], contents: Mapping[str, str]) -> dict[str, Any]:
    """A comparable spec as a diff shows it: with the content of its config files. Secrets remain names with a hash."""
    container = spec.get("TaskTemplate", {}).get("ContainerSpec", {})
    if "Configs" not in container:
        return spec
    configs = {
        path: {**config, "Content": contents.get(config.get("ConfigName", ""), "")}
        for path, config in container["Configs"].items()
    }
    template = {**spec["TaskTemplate"], "ContainerSpec": {**container, "Configs": configs}}
    return {**spec, "TaskTemplate": template}


def contents(snapshot: Snapshot) -> dict[str, str]:
    return {name: decode(config["Spec"].get("Data")) for name, config in snapshot.configs.items()}


def references(services: Iterable[Mapping[str, Any]]) -> tuple[set[str], set[str], set[str]]:
    """The names of the configs and secrets and the ids of the networks that these services use."""
    configs: set[str] = set()
    secrets: set[str] = set()
    networks: set[str] = set()
    for service in services:
        template = service["Spec"]["TaskTemplate"]
        container = template.get("ContainerSpec") or {}
        configs.update(item["ConfigName"] for item in container.get("Configs") or [])
        secrets.update(item["SecretName"] for item in container.get("Secrets") or [])
        networks.update(item["Target"] for item in template.get("Networks") or [])
    return configs, secrets, networks


def bound(spec: Mapping[str, Any], snapshot: Snapshot, live: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The rendered spec with the ids that the engine wants; somebody's count of forced restarts stays as it is."""
    template = dict(spec["TaskTemplate"])
    container = dict(template["ContainerSpec"])
    ids = {name: network["Id"] for name, network in snapshot.networks.items()}
    try:
        template["Networks"] = [{**item, "Target": ids[item["Target"]]} for item in template.get("Networks") or []]
        container["Configs"] = [
            {**item, "ConfigID": snapshot.configs[item["ConfigName"]]["ID"]} for item in container.get("Configs") or []
        ]
        container["Secrets"] = [
            {**item, "SecretID": snapshot.secrets[item["SecretName"]]["ID"]} for item in container.get("Secrets") or []
        ]
    except KeyError as error:
        raise WorkloadError(f"{spec['Name']} needs {error}, which somebody has removed meanwhile: run again") from error
    template["ContainerSpec"] = container
    if live is not None:
        template["ForceUpdate"] = live["Spec"]["TaskTemplate"].get("ForceUpdate", 0)
    return {**spec, "TaskTemplate": template}


def age(task: Mapping[str, Any]) -> float:
    """Seconds since the task reached its state, by this machine's clock."""
    text = str(task["Status"].get("Timestamp") or "")[:19]
    try:
        then = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return 0.0
    return (datetime.now(UTC) - then).total_seconds()


def state(task: Mapping[str, Any]) -> str:
    return str(task["Status"]["State"])


def active(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tasks that are meant to run."""
    return [task for task in tasks if task.get("DesiredState") == "running"]


def settled(service: Mapping[str, Any], tasks: list[dict[str, Any]]) -> bool:
    """As many healthy tasks of the present spec as wanted, no other ones, and no rollout under way.

    A task counts as running only once its health check has passed; without a check it has to last a few seconds.
    """
    if (service.get("UpdateStatus") or {}).get("State") in ROLLING:
        return False
    wanted = int(service["Spec"]["Mode"].get("Replicated", {}).get("Replicas", 0))
    running = active(tasks)
    good = [task for task in running if state(task) == "running" and same_task(task, service)]
    if not has_check(service):
        good = [task for task in good if age(task) >= 3.0]
    return len(good) == len(running) == wanted


def has_check(service: Mapping[str, Any]) -> bool:
    check = service["Spec"]["TaskTemplate"].get("ContainerSpec", {}).get("Healthcheck") or {}
    test = check.get("Test") or ["NONE"]
    return list(test) != ["NONE"]


def job_state(tasks: list[dict[str, Any]]) -> str:
    """completed, failed or running."""
    if any(state(task) == "complete" for task in tasks):
        return "completed"
    if tasks and all(state(task) in ENDED for task in tasks):
        return "failed"
    return "running"


def is_job(service: Mapping[str, Any]) -> bool:
    return label(service, KIND) == "job"


def workload_name(service: Mapping[str, Any], namespace: str) -> str:
    return label(service, WORKLOAD) or str(service["Spec"]["Name"]).removeprefix(f"{namespace}_")


def owner_problem(service: Mapping[str, Any], rendered: Rendered, set_name: str) -> str | None:
    """A service of this name that is another set's must not be taken over."""
    owner = label(service, SET)
    if owner is not None and owner != set_name and label(service, NAMESPACE) is not None:
        return f"{rendered.workload.name}: the set {owner!r} has a workload of this name already"
    return None


def _services(
    engine: Engine, namespace: str, attempts: int = 5
) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Services count by label, and by name too: somebody may have taken the labels off."""
    services = {}
    for service in engine.get("/services"):
        name = service["Spec"]["Name"]
        if label(service, NAMESPACE) == namespace or name.startswith(f"{namespace}_"):
            services[name] = service
    tasks: dict[str, list[dict[str, Any]]] = {}
    ids = [service["ID"] for service in services.values()]
    try:
        found = engine.get("/tasks", filters={"service": ids}) if ids else []
    except EngineError as error:
        if error.status == 404 and attempts > 1:  # a service has gone between the two calls
            return _services(engine, namespace, attempts - 1)
        raise
    for task in sorted(found, key=lambda task: str(task["CreatedAt"]), reverse=True):
        tasks.setdefault(task["ServiceID"], []).append(task)
    return services, tasks


def _by_name(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["Spec"]["Name"]: item for item in items}


def _keyed(items: Any, key: str) -> dict[str, Any]:
    return {str(item.get(key)): dict(item) for item in items or []}


def _files(items: Any, dropped: str) -> dict[str, Any]:
    files = {}
    for item in items or []:
        file = dict(item.get("File") or {})
        rest = {key: value for key, value in item.items() if key not in ("File", dropped)}
        files[str(file.pop("Name", ""))] = {**rest, **file}
    return files


def _pruned(value: Any) -> Any:
    if isinstance(value, Mapping):
        found = {key: item if key in VERBATIM else _pruned(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item not in (None, "", {}, []) and item != 0}
    return [_pruned(item) for item in value] if isinstance(value, (list, tuple)) else value
