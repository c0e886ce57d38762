# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A workload: what to run, said without naming a target. Sizes are bytes, times are seconds."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import WorkloadError
from .reader import ABSOLUTE_PATH, DNS_LABEL, DNS_NAME, Reader

ZONES = ("edge", "data", "stream", "metrics", "models")
SCRAPERS = "metrics"  # the zone of those who may ask every workload for its metrics
RESERVED_LABELS = "mlops."
GPU_NAMES = frozenset({"gpu", "nvidia.com/gpu"})  # what the targets call what ``gpu`` counts
_DNS = "a DNS label (lower-case letters, digits and dashes)"
_PATH = "an absolute path"
_USER = re.compile(r"^\d+(?::\d+)?$")
_ENV = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]*$")
_HEADER = re.compile(r"^[A-Za-z0-9-]+$")
_CAPABILITY = re.compile(r"^[A-Z][A-Z_]*$")
_SECRET = re.compile(r"^[a-z0-9](?:[a-z0-9_.-]*[a-z0-9])?$")
_LABEL = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?$")


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """A file whose content may be seen by anyone who may see the cluster's objects."""

    path: str
    content: str
    mode: str = "0444"

    @classmethod
    def read(cls, r: Reader) -> ConfigFile:
        return cls(
            path=r.text("path", pattern=ABSOLUTE_PATH, what=_PATH),
            content=r.text("content"),
            mode=r.mode("mode", "0444"),
        )


@dataclass(frozen=True, kw_only=True)
class SecretFile:
    """A file whose content is the secret value of that name; it belongs to the workload's user."""

    name: str
    path: str
    mode: str = "0400"

    @classmethod
    def read(cls, r: Reader) -> SecretFile:
        name = r.text("name", pattern=_SECRET, what="a secret's name (lower-case letters, digits, _ . -)", longest=64)
        return cls(
            name=name,
            path=r.text("path", f"/run/secrets/{name}", pattern=ABSOLUTE_PATH, what=_PATH),
            mode=r.mode("mode", "0400"),
        )


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port that the container listens on; ``published`` is the port of the host that leads to it."""

    name: str
    port: int
    protocol: str = "tcp"
    published: int | None = None

    @classmethod
    def read(cls, r: Reader) -> Port:
        return cls(
            name=r.text("name", pattern=DNS_LABEL, what=_DNS, longest=15),
            port=r.integer("port", least=1, most=65535),
            protocol=r.choice("protocol", ("tcp", "udp"), "tcp"),
            published=r.integer("published", None, least=1, most=65535),
        )


@dataclass(frozen=True, kw_only=True)
class Route:
    """A host and path at the gateway. ``host`` is put before the platform's domain, unless ``subdomain`` is false: then
    it is the whole name. No host means the domain itself."""

    name: str
    port: str
    host: str | None = None
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    scheme: str = "http"
    strip_path: bool = False
    priority: int | None = None
    subdomain: bool = True

    @classmethod
    def read(cls, r: Reader) -> Route:
        route = cls(
            name=r.text("name", pattern=DNS_LABEL, what=_DNS, longest=80),
            port=r.text("port"),
            host=r.text("host", None, pattern=DNS_NAME, what="a DNS name"),
            path=r.text("path", "/"),
            headers=r.mapping("headers", keys=_HEADER, what="a header's name"),
            scheme=r.choice("scheme", ("http", "h2c"), "http"),
            strip_path=r.flag("strip_path", False),
            priority=r.integer("priority", None, least=1),
            subdomain=r.flag("subdomain", True),
        )
        if not route.path.startswith("/"):
            r.problem("path", f"{route.path!r} does not begin with /")
        return route

    def full_host(self, domain: str) -> str:
        if self.host is None:
            return domain
        return f"{self.host}.{domain}" if self.subdomain and domain else self.host


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A directory that outlives the container. Scope ``workload``: this workload's data, which stay on the node where
    they were first placed; ``node``: a cache that the replicas on a node share and that may be empty on the next."""

    name: str
    path: str
    size: int | None = None
    scope: str = "workload"

    @classmethod
    def read(cls, r: Reader) -> Volume:
        return cls(
            name=r.text("name", pattern=DNS_LABEL, what=_DNS, longest=40),
            path=r.text("path", pattern=ABSOLUTE_PATH, what=_PATH),
            size=r.size("size", None),
            scope=r.choice("scope", ("workload", "node"), "workload"),
        )


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """A directory in memory that anyone in the container may write to."""

    path: str
    size: int = 64 * 2**20

    @classmethod
    def read(cls, r: Reader) -> Scratch:
        return cls(path=r.text("path", pattern=ABSOLUTE_PATH, what=_PATH), size=r.size("size", 64 * 2**20))


@dataclass(frozen=True, kw_only=True)
class HttpCheck:
    port: str
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, r: Reader) -> HttpCheck:
        check = cls(
            port=_port_reference(r),
            path=r.text("path", "/"),
            headers=r.mapping("headers", keys=_HEADER, what="a header's name"),
        )
        if not check.path.startswith("/"):
            r.problem("path", f"{check.path!r} does not begin with /")
        return check


@dataclass(frozen=True, kw_only=True)
class TcpCheck:
    port: str

    @classmethod
    def read(cls, r: Reader) -> TcpCheck:
        return cls(port=_port_reference(r))


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One check (http, tcp or command) and its pace. ``start_period`` is how long failures don't count."""

    http: HttpCheck | None = None
    tcp: TcpCheck | None = None
    command: tuple[str, ...] = ()
    interval: float = 2.0
    timeout: float = 5.0
    retries: int = 3
    start_period: float = 60.0

    @property
    def check(self) -> tuple[HttpCheck | None, TcpCheck | None, tuple[str, ...]]:
        return (self.http, self.tcp, self.command)

    @property
    def has_check(self) -> bool:
        return self.check != (None, None, ())

    @classmethod
    def read(cls, r: Reader) -> Probe:
        given = [name for name in ("http", "tcp", "command") if r.has(name)]
        if len(given) > 1:
            r.problem("", f"has more than one check: {', '.join(given)}")
        return cls(
            http=r.item("http", HttpCheck.read, None),
            tcp=r.item("tcp", TcpCheck.read, None),
            command=r.texts("command"),
            interval=r.number("interval", 2.0, least=0.1),
            timeout=r.number("timeout", 5.0, least=0.1),
            retries=r.integer("retries", 3, least=1),
            start_period=r.number("start_period", 60.0),
        )


@dataclass(frozen=True, kw_only=True)
class Probes:
    """``liveness`` restarts, ``readiness`` decides about traffic, ``startup`` holds both back; it may name no check of
    its own and takes liveness's then."""

    startup: Probe | None = None
    liveness: Probe | None = None
    readiness: Probe | None = None

    @classmethod
    def read(cls, r: Reader) -> Probes:
        probes = cls(
            startup=r.item("startup", Probe.read, None),
            liveness=r.item("liveness", Probe.read, None),
            readiness=r.item("readiness", Probe.read, None),
        )
        for name in ("liveness", "readiness"):
            probe = getattr(probes, name)
            if probe is not None and not probe.has_check:
                r.problem(name, "needs one check: http, tcp or command")
        if probes.startup is not None and probes.liveness is None:
            r.problem("startup", "needs a liveness probe beside it")
        return probes


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """``cpu`` in cores, ``memory`` in bytes, ``gpu`` in whole devices; None is no statement."""

    cpu: float | None = None
    memory: int | None = None
    gpu: int = 0

    @classmethod
    def read(cls, r: Reader) -> Amounts:
        return cls(cpu=r.number("cpu", None, least=0.001), memory=r.size("memory", None), gpu=r.integer("gpu", 0))


@dataclass(frozen=True, kw_only=True)
class Resources:
    """``generic``: what nodes offer by a name of the site's own, in whole pieces that are not shared."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()
    generic: dict[str, int] = field(default_factory=dict)

    @property
    def gpu(self) -> int:
        return max(self.requests.gpu, self.limits.gpu)

    @classmethod
    def read(cls, r: Reader) -> Resources:
        found = cls(
            requests=r.item("requests", Amounts.read, Amounts()),
            limits=r.item("limits", Amounts.read, Amounts()),
            generic=r.counts("generic", keys=_LABEL, what="a resource's name"),
        )
        for name in sorted(GPU_NAMES & set(found.generic)):
            r.problem(f"generic.{name}", "is asked for by requests.gpu")
        for name in ("cpu", "memory"):
            wanted, limit = getattr(found.requests, name), getattr(found.limits, name)
            if wanted is not None and limit is not None and wanted > limit:
                r.problem(f"requests.{name}", f"{wanted} is more than limits.{name} {limit}")
        if found.requests.gpu and found.limits.gpu and found.requests.gpu != found.limits.gpu:
            r.problem("requests.gpu", "must equal limits.gpu: devices are not shared")
        return found


TOLERATION_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True, kw_only=True)
class Toleration:
    """A taint of Kubernetes' nodes that is no obstacle: all with this key, or those with this value as well."""

    key: str
    value: str | None = None
    effect: str | None = None

    @classmethod
    def read(cls, r: Reader) -> Toleration:
        return cls(key=r.text("key"), value=r.text("value", None), effect=r.choice("effect", TOLERATION_EFFECTS, None))


@dataclass(frozen=True, kw_only=True)
class Placement:
    """``labels``: the node's labels that must match; ``spread: node``: replicas on different nodes as far as there are
    any; ``manager``: only on nodes that manage the cluster; ``tolerations``: taints that are no obstacle (those of
    Kubernetes; nodes of a Swarm have none)."""

    labels: dict[str, str] = field(default_factory=dict)
    spread: str | None = None
    manager: bool = False
    tolerations: tuple[Toleration, ...] = ()

    @classmethod
    def read(cls, r: Reader) -> Placement:
        return cls(
            labels=r.mapping("labels", keys=_LABEL, what="a label's name"),
            spread=r.choice("spread", ("node",), None),
            manager=r.flag("manager", False),
            tolerations=r.items("tolerations", Toleration.read),
        )


@dataclass(frozen=True, kw_only=True)
class Metrics:
    port: str
    path: str = "/metrics"

    @classmethod
    def read(cls, r: Reader) -> Metrics:
        return cls(port=r.text("port"), path=r.text("path", "/metrics"))


@dataclass(frozen=True, kw_only=True)
class Egress:
    """What a workload reaches outside the cluster: a DNS name or an address, and a TCP port."""

    host: str
    port: int

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host where it is an address and no name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @classmethod
    def read(cls, r: Reader) -> Egress:
        egress = cls(host=r.text("host"), port=r.integer("port", least=1, most=65535))
        if egress.host and egress.address is None and not DNS_NAME.match(egress.host):
            r.problem("host", f"{egress.host!r} is neither a DNS name nor an address")
        return egress


@dataclass(frozen=True, kw_only=True)
class Update:
    """How a new version takes over. ``health_window``: how long a new replica may take until it is healthy (its startup
    probe may allow it more) before the rollout counts as failed and, with ``rollback``, the old version comes back."""

    order: str = "start-first"
    batch: int = 1
    health_window: float = 60.0
    rollback: bool = True

    @classmethod
    def read(cls, r: Reader) -> Update:
        return cls(
            order=r.choice("order", ("start-first", "stop-first"), "start-first"),
            batch=r.integer("batch", 1, least=1),
            health_window=r.number("health_window", 60.0, least=1.0),
            rollback=r.flag("rollback", True),
        )


@dataclass(frozen=True, kw_only=True)
class Workload:
    name: str
    image: str
    kind: str = "service"
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    configs: tuple[ConfigFile, ...] = ()
    secrets: tuple[SecretFile, ...] = ()
    ports: tuple[Port, ...] = ()
    routes: tuple[Route, ...] = ()
    volumes: tuple[Volume, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    probes: Probes = Probes()
    replicas: int = 1
    resources: Resources = Resources()
    placement: Placement = Placement()
    user: str = "10001:10001"
    read_only: bool = True
    capabilities: tuple[str, ...] = ()
    zone: str | None = None
    connects: tuple[str, ...] = ()
    egress: tuple[Egress, ...] = ()
    metrics: Metrics | None = None
    jobs: tuple[Workload, ...] = ()
    update: Update = Update()
    stop_grace: float = 30.0
    cluster_access: bool = False
    labels: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Any, path: str = "") -> Workload:
        """Raises WorkloadError with every problem of the declaration."""
        problems: list[str] = []
        workload = cls.collect(data, problems, path)
        if problems:
            raise WorkloadError("The declaration of the workload is wrong", problems=problems)
        return workload

    @classmethod
    def collect(cls, data: Any, problems: list[str], path: str = "") -> Workload:
        """As from_dict, but adds to ``problems``; what comes back is of use only when none were added."""
        name = data.get("name") if isinstance(data, Mapping) else None
        reader = Reader(data, name if isinstance(name, str) and name else path or "workload", problems)
        workload = cls.read(reader)
        reader.done()
        return workload

    @classmethod
    def read(cls, r: Reader) -> Workload:
        workload = cls(
            name=r.text("name", pattern=DNS_LABEL, what=_DNS, longest=40),
            image=r.text("image"),
            kind=r.choice("kind", ("service", "job"), "service"),
            command=r.texts("command"),
            args=r.texts("args"),
            env=r.mapping("env", keys=_ENV, what="a variable's name"),
            configs=r.items("configs", ConfigFile.read, key="path"),
            secrets=r.items("secrets", SecretFile.read, key="path"),
            ports=r.items("ports", Port.read, key="name"),
            routes=r.items("routes", Route.read, key="name"),
            volumes=r.items("volumes", Volume.read, key="name"),
            scratch=r.items("scratch", Scratch.read, key="path"),
            probes=r.item("probes", Probes.read, Probes()),
            replicas=r.integer("replicas", 1),
            resources=r.item("resources", Resources.read, Resources()),
            placement=r.item("placement", Placement.read, Placement()),
            user=r.text("user", "10001:10001", pattern=_USER, what="a numeric user or user:group, such as 10001:10001"),
            read_only=r.flag("read_only", True),
            capabilities=r.texts("capabilities"),
            zone=r.choice("zone", ZONES, None),
            connects=r.texts("connects"),
            egress=r.items("egress", Egress.read),
            metrics=r.item("metrics", Metrics.read, None),
            jobs=r.items("jobs", _read_job, key="name"),
            update=r.item("update", Update.read, Update()),
            stop_grace=r.number("stop_grace", 30.0),
            cluster_access=r.flag("cluster_access", False),
            labels=r.mapping("labels", keys=_LABEL, what="a label's name"),
        )
        workload._check(r)
        return workload

    @property
    def is_job(self) -> bool:
        return self.kind == "job"

    @property
    def uid(self) -> str:
        return self.user.partition(":")[0]

    @property
    def gid(self) -> str:
        return self.user.partition(":")[2] or self.uid

    @property
    def has_data(self) -> bool:
        return any(volume.scope == "workload" for volume in self.volumes)

    @property
    def update_order(self) -> str:
        """Two instances must not hold one volume or one port of the host at the same time."""
        alone = self.has_data or any(port.published is not None for port in self.ports)
        return "stop-first" if alone else self.update.order

    @property
    def needs(self) -> tuple[str, ...]:
        """The workloads that must be there before this one starts: its own peers and those of its jobs."""
        names = list(self.connects)
        for job in self.jobs:
            names += [name for name in job.connects if name != self.name]
        return tuple(dict.fromkeys(names))

    def port_number(self, reference: str) -> int:
        """The number behind a port's name (or a number as text)."""
        for port in self.ports:
            if port.name == reference:
                return port.port
        return int(reference)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that from_dict turns back into an equal workload; what equals the default is left out."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def _check(self, r: Reader) -> None:
        """What no single field shows."""
        names = {port.name for port in self.ports}
        numbers = {str(port.port) for port in self.ports}
        for index, route in enumerate(self.routes):
            if route.port not in names:
                r.problem(f"routes[{index}].port", f"{route.port!r} is not the name of a port (ports: {_list(names)})")
        if self.metrics is not None and self.metrics.port not in names:
            r.problem("metrics.port", f"{self.metrics.port!r} is not the name of a port (ports: {_list(names)})")
        for name in ("startup", "liveness", "readiness"):
            probe = getattr(self.probes, name)
            for kind in ("http", "tcp"):
                check = getattr(probe, kind, None)
                if check is not None and check.port not in names | numbers:
                    r.problem(f"probes.{name}.{kind}.port", f"{check.port!r} is not one of its ports ({_list(names)})")
        if self.user.partition(":")[0].strip("0") == "" and _USER.match(self.user):
            r.problem("user", "must not be root (0)")
        for index, capability in enumerate(self.capabilities):
            if not _CAPABILITY.match(capability) or capability.startswith("CAP_") or capability == "ALL":
                r.problem(f"capabilities[{index}]", f"{capability!r} is not a capability such as NET_BIND_SERVICE")
        if self.has_data and self.replicas > 1:
            r.problem("replicas", "a volume of scope workload belongs to one replica: make several workloads of it")
        for key in self.labels:
            if key.startswith(RESERVED_LABELS):
                r.problem(f"labels.{key}", f"labels that begin with {RESERVED_LABELS} are reserved")
        if self.name in self.connects:
            r.problem("connects", "a workload must not connect to itself")
        mounts = [("configs", item.path) for item in self.configs] + [("secrets", item.path) for item in self.secrets]
        mounts += [("volumes", item.path) for item in self.volumes] + [("scratch", item.path) for item in self.scratch]
        paths: dict[str, str] = {}
        for what, path in mounts:
            if path and path in paths:
                r.problem(what, f"{path} is taken by {paths[path]} already")
            paths[path] = what
        published: set[tuple[int, str]] = set()
        for index, port in enumerate(self.ports):
            if port.published is not None and (port.published, port.protocol) in published:
                r.problem(f"ports[{index}].published", f"{port.published}/{port.protocol} is there twice")
            published.add((port.published or 0, port.protocol))
        if self.is_job:
            self._check_job(r)
        for index, job in enumerate(self.jobs):
            if self.name in job.connects:
                r.problem(f"jobs[{index}].connects", f"{self.name} is not there yet when its own job runs")
            if job.jobs:
                r.problem(f"jobs[{index}].jobs", "a job must not have jobs of its own")

    def _check_job(self, r: Reader) -> None:
        if self.routes:
            r.problem("routes", "a job has none")
        if self.probes != Probes():
            r.problem("probes", "a job has none: it has done its work when it ends with 0")
        if self.replicas != 1:
            r.problem("replicas", "a job runs once")
        if self.metrics is not None:
            r.problem("metrics", "a job has none: nobody would ask it in time")
        if any(port.published is not None for port in self.ports):
            r.problem("ports", "a job publishes none")
        if self.update != Update():
            r.problem("update", "a job is not updated: it runs again when it changes")


def _read_job(r: Reader) -> Workload:
    job = Workload.read(r)
    if r.has("kind") and job.kind != "job":
        r.problem("kind", "must be job")
    if job.kind == "job":
        return job
    job = dataclasses.replace(job, kind="job")
    job._check_job(r)
    return job


def parse(workloads: Any) -> list[Workload]:
    """Reads a list of workloads. Raises WorkloadError with the problems of all of them."""
    problems: list[str] = []
    found: list[Workload] = []
    if not isinstance(workloads, Sequence) or isinstance(workloads, str):
        raise WorkloadError("Workloads must be a list")
    for index, data in enumerate(workloads):
        found.append(data if isinstance(data, Workload) else Workload.collect(data, problems, f"workloads[{index}]"))
    problems += problems_together(found)
    if problems:
        raise WorkloadError("The declaration of the workloads is wrong", problems=problems)
    return found


def problems_together(workloads: Iterable[Workload]) -> list[str]:
    """What is wrong only when they are looked at side by side."""
    problems: list[str] = []
    names: set[str] = set()
    published: dict[tuple[int, str], str] = {}
    routes: dict[tuple[Any, ...], str] = {}
    for workload in workloads:
        for name in (workload.name, *(job.name for job in workload.jobs)):
            if name and name in names:
                problems.append(f"{name}: there is more than one workload or job of this name")
            names.add(name)
        for port in workload.ports:
            key = (port.published or 0, port.protocol)
            if port.published is not None and key in published and published[key] != workload.name:
                problems.append(
                    f"{workload.name}.ports: {published[key]} publishes {port.published}/{port.protocol} already"
                )
            if port.published is not None:
                published[key] = workload.name
        for route in workload.routes:
            place = (route.host, route.subdomain, route.path, tuple(sorted(route.headers.items())), route.priority)
            if place in routes:
                host = route.host or "the domain"
                problems.append(f"{workload.name}.routes: {routes[place]} has {host} {route.path} already")
            routes[place] = workload.name
    return problems


def zones(workload: Workload, zone_of: Mapping[str, str | None]) -> list[str]:
    """The zones that a workload joins: its own, its peers', and the edge if the gateway or the host leads to it, or its
    way leads outside. Who scrapes lives in the zone metrics and joins all: what it scrapes joins none for its sake."""
    joined = {workload.zone, *(zone_of.get(name) for name in workload.connects)}
    if workload.zone == SCRAPERS:
        joined.update(ZONES)
    if workload.routes or workload.egress or any(port.published is not None for port in workload.ports):
        joined.add("edge")
    if workload.metrics is not None and joined == {None}:
        joined.add(SCRAPERS)
    return [zone for zone in ZONES if zone in joined]


def _port_reference(r: Reader) -> str:
    """A port's name or number."""
    value = r.raw("port")
    if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
        return str(value)
    r.problem("port", "is required: a port's name or number")
    return ""


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _plain(value: Any) -> Any:
    if not dataclasses.is_dataclass(value):
        if isinstance(value, (tuple, list)):
            return [_plain(item) for item in value]
        return dict(value) if isinstance(value, dict) else value
    plain = {}
    for item in dataclasses.fields(value):
        found = getattr(value, item.name)
        factory = item.default_factory
        default = item.default if factory is dataclasses.MISSING else factory()
        if found != default:
            plain[item.name] = _plain(found)
    return plain


def canonical(value: Any) -> str:
    """One text for equal data: what hashes are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
