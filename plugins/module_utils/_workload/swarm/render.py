# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""From a workload to a Swarm service spec: a pure function.

The spec names networks, configs and secrets; the ids that the engine wants are put in when it is sent. What Swarm can't
do is refused aloud.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..model import Probe, Workload, canonical, zones
from ..rendering import Place, image_reference, metrics, refuse_plain_secrets, routes, secret_contents, secret_hash

SECOND = 10**9
NAME_LIMIT = 63  # of a service: it is a DNS label
OBJECT_NAME_LIMIT = 64  # of a config and a secret
CONFIG_LIMIT = 1000 * 1024
SECRET_LIMIT = 500 * 1024
OFTENER_AT_MOST = 2
GPU = "gpu"

NAMESPACE = "mlops.namespace"
SET = "mlops.set"
WORKLOAD = "mlops.workload"
KIND = "mlops.kind"
ZONE = "mlops.zone"
ROUTES = "mlops.routes"
METRICS = "mlops.metrics"
IMAGE = "mlops.image"
CREDENTIAL = "mlops.pull-credential"
SIZE = "mlops.size"


@dataclass(frozen=True)
class Traits:
    """What the engine is, as far as rendering depends on it."""

    api: tuple[int, ...] = (1, 41)
    log_driver: str = "json-file"
    socket: str | None = "/var/run/docker.sock"
    socket_group: int | None = None
    nodes: int = 1
    no_new_privileges: bool = False  # the engine's default for all containers


@dataclass(frozen=True)
class Facts:
    """What only the cluster knows: what its salt is, in which zones its workloads are, what its engine can do."""

    salt: str
    zone_of: Mapping[str, str | None] = field(default_factory=dict)
    traits: Traits = Traits()

    def to_dict(self) -> dict[str, Any]:
        return {"salt": self.salt, "zone_of": dict(self.zone_of), "traits": asdict(self.traits)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Facts:
        traits = dict(data.get("traits") or {})
        if "api" in traits:
            traits["api"] = tuple(traits["api"])
        return cls(str(data["salt"]), dict(data.get("zone_of") or {}), Traits(**traits))


@dataclass(frozen=True)
class Site(Place):
    """``credential`` is a hash of what the nodes pull with."""

    credential: str = ""
    traits: Traits = Traits()

    def labels(self, workload: str) -> dict[str, str]:
        return {NAMESPACE: self.namespace, SET: self.set_name, WORKLOAD: workload}

    def network(self, zone: str) -> str:
        return f"{self.namespace}_{zone}"

    def pin(self, workload: str) -> str:
        """The label of the node that holds a workload's data."""
        return f"mlops.pin.{self.namespace}.{workload}"

    def volume(self, workload: str, volume: str) -> str:
        return f"{self.namespace}_{workload}_{volume}"


def site_for(
    namespace: str,
    set_name: str,
    declared: Iterable[Workload],
    *,
    domain: str,
    images: Mapping[str, str],
    secret_values: Mapping[str, str],
    registry_auth: Mapping[str, str],
    facts: Facts,
    lenient: bool = False,
) -> Site:
    """Where a set goes, from what the user says and what the cluster says."""
    return Site(
        namespace=namespace,
        set_name=set_name,
        domain=domain,
        images=images,
        secret_values=secret_values,
        zone_of={**facts.zone_of, **{workload.name: workload.zone for workload in declared}},
        salt=facts.salt,
        credential=secret_hash(canonical(registry_auth), facts.salt) if registry_auth else "",
        traits=facts.traits,
        lenient=lenient,
    )


def network(namespace: str, zone: str) -> dict[str, Any]:
    """The overlay network of a zone; only the edge has a way out."""
    return {
        "Name": f"{namespace}_{zone}",
        "Driver": "overlay",
        "Internal": zone != "edge",
        "Labels": {NAMESPACE: namespace, ZONE: zone},
        "CheckDuplicate": True,
    }


@dataclass(frozen=True)
class Rendered:
    workload: Workload
    name: str
    spec: dict[str, Any]
    zones: list[str]
    configs: dict[str, bytes]
    secrets: dict[str, bytes]
    pin: str | None
    jobs: list[Rendered]
    notes: list[str]

    @property
    def image(self) -> str:
        return str(self.spec["TaskTemplate"]["ContainerSpec"]["Image"])

    @property
    def constraints(self) -> list[str]:
        return list(self.spec["TaskTemplate"].get("Placement", {}).get("Constraints", []))

    @property
    def readiness(self) -> Probe | None:
        """The readiness probe where liveness doesn't answer the question."""
        probes = self.workload.probes
        if probes.readiness is None or (probes.liveness and probes.readiness.check == probes.liveness.check):
            return None
        return probes.readiness


def render(workload: Workload, site: Site, problems: list[str], *, at: str = "") -> Rendered:
    """Adds what can't be done to ``problems``, each with the field's path; what is returned is of use without any."""
    at = at or workload.name
    notes: list[str] = []
    traits = site.traits
    labels = site.labels(workload.name)
    configs, config_files = _configs(workload, site, problems, at)
    secrets, secret_files = _secrets(workload, site, problems, at)
    refuse_plain_secrets(workload, site, problems, at)

    container: dict[str, Any] = {
        "Image": image_reference(workload, site, problems, at),
        "Labels": labels,
        "Command": list(workload.command),
        "Args": list(workload.args),
        "Env": [f"{name}={value}" for name, value in sorted(workload.env.items())],
        "User": workload.user,
        "ReadOnly": workload.read_only,
        "CapabilityDrop": ["ALL"],
        "CapabilityAdd": sorted(workload.capabilities),
        "Mounts": _mounts(workload, site),
        "Configs": config_files,
        "Secrets": secret_files,
        "StopGracePeriod": _ns(workload.stop_grace),
    }
    if traits.api >= (1, 44):
        container["Privileges"] = {"NoNewPrivileges": True}
    elif not traits.no_new_privileges:
        notes.append(
            "This Docker engine can't set no-new-privileges for services (its API drops it): "
            'set "no-new-privileges": true for all containers in the engines\' daemon.json'
        )
    if workload.placement.tolerations:
        notes.append(f"{workload.name}.placement.tolerations: has no meaning here, nodes of a Swarm have no taints")
    if not workload.is_job:
        container["Healthcheck"] = _healthcheck(workload, traits, problems, at)
    readiness = workload.probes.readiness
    liveness = workload.probes.liveness
    if readiness and readiness.command and traits.nodes > 1 and (not liveness or readiness.check != liveness.check):
        problems.append(
            f"{at}.probes.readiness.command: can't be run on another node: ask by http or tcp, or as liveness does"
        )
    constraints = [f"node.labels.{key}=={value}" for key, value in sorted(workload.placement.labels.items())]
    if workload.placement.manager or workload.cluster_access:
        constraints.append("node.role==manager")
    pin = site.pin(workload.name) if workload.has_data else None
    if pin:
        constraints.append(f"node.labels.{pin}==true")
    if workload.cluster_access:
        if traits.socket is None or traits.socket_group is None:
            problems.append(f"{at}.cluster_access: needs the engine's socket on the machine that applies it")
        container["Mounts"].append({"Type": "bind", "Source": traits.socket, "Target": "/var/run/docker.sock"})
        container["Groups"] = [str(traits.socket_group)]

    joined = zones(workload, site.zone_of)
    template: dict[str, Any] = {
        "ContainerSpec": container,
        "Resources": _resources(workload),
        "RestartPolicy": {"Condition": "none"} if workload.is_job else {"Condition": "any", "Delay": 2 * SECOND},
        "Placement": {"Constraints": constraints} if constraints else {},
        "Networks": [{"Target": site.network(zone), "Aliases": [workload.name]} for zone in joined],
    }
    if traits.log_driver in ("json-file", "local"):
        template["LogDriver"] = {"Name": traits.log_driver, "Options": {"max-size": "10m", "max-file": "3"}}

    spec: dict[str, Any] = {
        "Labels": {**workload.labels, **labels, **_service_labels(workload, site)},
        "TaskTemplate": template,
        "EndpointSpec": {"Mode": "dnsrr"},
    }
    jobs: list[Rendered] = []
    if workload.is_job:
        name = f"{site.namespace}_{workload.name}_{_job_hash(spec)}"
        spec["Mode"] = {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}
    else:
        name = f"{site.namespace}_{workload.name}"
        spec["Mode"] = {"Replicated": {"Replicas": workload.replicas}}
        spec.update(_updates(workload))
        ports = [
            {
                "Protocol": port.protocol,
                "TargetPort": port.port,
                "PublishedPort": port.published,
                "PublishMode": "host",
            }
            for port in workload.ports
            if port.published is not None
        ]
        if ports:
            spec["EndpointSpec"]["Ports"] = ports
        jobs = [render(job, site, problems, at=f"{at}.jobs.{job.name}") for job in workload.jobs]
    spec["Name"] = name
    if len(name) > NAME_LIMIT:
        problems.append(f"{at}.name: the service's name {name!r} has {len(name)} characters, {NAME_LIMIT} fit")
    return Rendered(workload, name, spec, joined, configs, secrets, pin, jobs, notes)


def probe_command(probe: Probe, workload: Workload, host: str = "127.0.0.1") -> list[str]:
    """The command that asks, run inside the container (or, for http and tcp, from another one)."""
    if probe.http is not None:
        headers = [f"--header={name}: {value}" for name, value in sorted(probe.http.headers.items())]
        url = f"http://{host}:{workload.port_number(probe.http.port)}{probe.http.path}"
        return ["wget", "-q", "-T", str(math.ceil(probe.timeout)), "-O", "/dev/null", *headers, url]
    if probe.tcp is not None:
        return ["nc", "-z", "-w", str(math.ceil(probe.timeout)), host, str(workload.port_number(probe.tcp.port))]
    return list(probe.command)


def start_budget(workload: Workload) -> float:
    """The longest time in seconds that a new task may take from its start until it is healthy or given up."""
    probe = workload.probes.liveness
    if probe is None:
        return 0.0
    period = _start_period(workload)
    return period + probe.retries * (probe.interval + probe.timeout)


def _service_labels(workload: Workload, site: Site) -> dict[str, str]:
    labels = {KIND: workload.kind, IMAGE: workload.image}
    if workload.zone:
        labels[ZONE] = workload.zone
    if workload.routes:
        labels[ROUTES] = canonical(routes(workload, site.domain))
    if workload.metrics:
        labels[METRICS] = canonical(metrics(workload))
    if site.credential:
        labels[CREDENTIAL] = site.credential
    return labels


def _configs(
    workload: Workload, site: Site, problems: list[str], at: str
) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    objects: dict[str, bytes] = {}
    files = []
    for index, config in enumerate(workload.configs):
        content = config.content.encode()
        if len(content) > CONFIG_LIMIT:
            problems.append(
                f"{at}.configs[{index}].content: {config.path} has {len(content)} bytes, Swarm takes {CONFIG_LIMIT}"
            )
        seed = canonical([site.set_name, workload.name, config.path]).encode() + content
        name = _object_name(site.namespace, workload.name, hashlib.sha256(seed).hexdigest()[:16])
        objects[name] = content
        files.append({"ConfigName": name, "File": _file(config.path, config.mode, workload)})
    return objects, files


def _secrets(
    workload: Workload, site: Site, problems: list[str], at: str
) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    objects: dict[str, bytes] = {}
    files = []
    for index, secret, value, digest in secret_contents(workload, site, problems, at):
        content = value.encode()
        if len(content) > SECRET_LIMIT:
            problems.append(
                f"{at}.secrets[{index}].name: the value of {secret.name} has {len(content)} bytes, "
                f"Swarm takes {SECRET_LIMIT}"
            )
        if not content and not site.lenient:
            problems.append(f"{at}.secrets[{index}].name: the value of {secret.name} is empty, which Swarm refuses")
        name = _object_name(site.namespace, secret.name, digest)
        objects[name] = content
        files.append({"SecretName": name, "File": _file(secret.path, secret.mode, workload)})
    return objects, files


def _object_name(namespace: str, name: str, digest: str) -> str:
    room = OBJECT_NAME_LIMIT - len(namespace) - len(digest) - 2
    return f"{namespace}_{name[: max(room, 0)]}_{digest}"


def _file(path: str, mode: str, workload: Workload) -> dict[str, Any]:
    return {"Name": path, "UID": workload.uid, "GID": workload.gid, "Mode": int(mode, 8)}


def _mounts(workload: Workload, site: Site) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = []
    for volume in workload.volumes:
        labels = site.labels(workload.name)
        if volume.size is not None:
            labels[SIZE] = str(
                volume.size
            )  # the local driver knows no quota: shown, so that a person can hold it to it
        mounts.append(
            {
                "Type": "volume",
                "Source": site.volume(workload.name, volume.name),
                "Target": volume.path,
                "VolumeOptions": {"Labels": labels},
            }
        )
    for scratch in workload.scratch:
        mounts.append(
            {
                "Type": "tmpfs",
                "Target": scratch.path,
                "TmpfsOptions": {"SizeBytes": scratch.size, "Mode": 0o1777},
            }
        )
    return mounts


def _start_period(workload: Workload) -> float:
    startup, liveness = workload.probes.startup, workload.probes.liveness
    if startup is not None:
        return max(startup.start_period, startup.retries * startup.interval)
    return liveness.start_period if liveness else 0.0


def _healthcheck(workload: Workload, traits: Traits, problems: list[str], at: str) -> dict[str, Any]:
    """Swarm has one check, and it kills: liveness. The startup probe is the time before failures count."""
    startup, liveness = workload.probes.startup, workload.probes.liveness
    if liveness is None:
        return {"Test": ["NONE"]}
    if startup is not None and startup.has_check and startup.check != liveness.check:
        problems.append(
            f"{at}.probes.startup: Swarm has one check for startup and liveness: give it liveness's check, or none"
        )
    interval, retries, timeout = liveness.interval, liveness.retries, liveness.timeout
    check = {"Test": ["CMD", *probe_command(liveness, workload)], "StartPeriod": _ns(_start_period(workload))}
    if startup is not None:
        timeout = max(timeout, startup.timeout)
        if traits.api >= (1, 44):
            check["StartInterval"] = _ns(startup.interval)
        elif startup.interval < interval:
            # One interval for both here, and each check is a new process for ever: towards what startup wants, but
            # at most twice as often as liveness wants. It fails after as long as liveness wants.
            both = max(startup.interval, interval / OFTENER_AT_MOST)
            retries = math.ceil(retries * interval / both)
            interval = both
    return {**check, "Interval": _ns(interval), "Timeout": _ns(timeout), "Retries": retries}


def _resources(workload: Workload) -> dict[str, Any]:
    def amounts(cpu: float | None, memory: int | None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if cpu is not None:
            found["NanoCPUs"] = round(cpu * 10**9)
        if memory is not None:
            found["MemoryBytes"] = memory
        return found

    requests, limits = workload.resources.requests, workload.resources.limits
    reservations = amounts(requests.cpu, requests.memory)
    generic = dict(sorted(workload.resources.generic.items()))
    if workload.resources.gpu:
        generic = {GPU: workload.resources.gpu, **generic}
    if generic:
        reservations["GenericResources"] = [
            {"DiscreteResourceSpec": {"Kind": kind, "Value": count}} for kind, count in generic.items()
        ]
    return {"Limits": amounts(limits.cpu, limits.memory), "Reservations": reservations}


def _updates(workload: Workload) -> dict[str, Any]:
    monitor = _ns(min(workload.update.health_window, 5.0))
    order = workload.update_order
    return {
        "UpdateConfig": {
            "Parallelism": workload.update.batch,
            "FailureAction": "rollback" if workload.update.rollback else "pause",
            "Monitor": monitor,
            "Order": order,
        },
        "RollbackConfig": {"Parallelism": 0, "FailureAction": "pause", "Monitor": monitor, "Order": order},
    }


def _job_hash(spec: Mapping[str, Any]) -> str:
    """Over what the job does, not over where it runs and what it may use."""
    container = {key: value for key, value in spec["TaskTemplate"]["ContainerSpec"].items() if key != "Labels"}
    return hashlib.sha256(canonical(container).encode()).hexdigest()[:10]


def _ns(seconds: float) -> int:
    return round(seconds * SECOND)
