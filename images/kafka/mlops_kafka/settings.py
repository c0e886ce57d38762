# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the broker is told by its environment, and the properties that follow from it.

No secret is part of either: the certificate is named by its file, and brokers know no password of a user but by the
salted hash that Kafka's own metadata hold.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DAY_MS = 24 * 3600 * 1000
# The name that every broker's certificate is made out to, and by which brokers and the topics' job know each other.
PEER = "CN=kafka"
ADMIN = "admin"
OWN_HOST = "localhost"
"""By which a broker reaches itself; its certificate has to name it."""


class SettingsError(ValueError):
    """A variable that can't be used: its name, and what is wrong with it."""


@dataclass(frozen=True)
class Ports:
    """``clients`` come with a password, ``peers`` and ``controllers`` with the brokers' own certificate."""

    clients: int = 9092
    peers: int = 9093
    controllers: int = 9094
    metrics: int = 9404


@dataclass(frozen=True)
class Settings:
    """One broker. ``brokers``: the names of all, this one's among them; its place there is its number."""

    name: str
    brokers: tuple[str, ...]
    cluster: str
    certificate: Path
    data: Path
    home: Path
    scratch: Path
    heap: str
    java_options: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    ports: Ports = Ports()
    listen: str = ""

    @property
    def node_id(self) -> int:
        return self.brokers.index(self.name) + 1

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        brokers = tuple(name.strip() for name in environ.get("KAFKA_BROKERS", "kafka").split(",") if name.strip())
        name = environ.get("KAFKA_NAME") or (brokers[0] if len(brokers) == 1 else "")
        if name not in brokers:
            raise SettingsError(f"KAFKA_NAME: {name!r} is none of KAFKA_BROKERS ({', '.join(brokers)})")
        certificate = Path(environ.get("KAFKA_CERTIFICATE_FILE", "/run/secrets/kafka_certificate"))
        check_certificate(certificate)
        heap = environ.get("KAFKA_HEAP", "256m")
        if not re.fullmatch(r"[1-9]\d*[mg]", heap):
            raise SettingsError(f"KAFKA_HEAP: {heap!r} is no size such as 256m or 1g")
        return cls(
            name=name,
            brokers=brokers,
            cluster=cluster_id(environ.get("KAFKA_CLUSTER", "mlops")),
            certificate=certificate,
            data=Path(environ.get("KAFKA_DATA_DIR", "/var/lib/kafka")) / "data",
            home=Path(environ.get("KAFKA_HOME", "/opt/kafka")),
            scratch=Path(environ.get("KAFKA_SCRATCH_DIR", "/tmp")),  # noqa: S108  the container's own scratch
            heap=heap,
            java_options=tuple(environ.get("KAFKA_JAVA_OPTIONS", "").split()),
            properties=_properties(environ.get("KAFKA_PROPERTIES", "{}")),
            ports=_ports(environ),
            listen=environ.get("KAFKA_LISTEN", ""),
        )


def check_certificate(path: Path) -> None:
    """Raises where the file isn't a key with its certificate: the broker's own message would name a class of Java's."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"KAFKA_CERTIFICATE_FILE: {error}") from error
    for part in ("BEGIN PRIVATE KEY", "BEGIN CERTIFICATE"):
        if part not in text:
            raise SettingsError(f"KAFKA_CERTIFICATE_FILE: {path} has no {part.removeprefix('BEGIN ').lower()} in PEM")


def cluster_id(name: str) -> str:
    """A cluster's id by its name: the same for all brokers, without one having to tell the others."""
    digest = hashlib.sha256(f"mlops.onprem {name}".encode()).digest()[:16]
    # Without the highest bit, or it could begin with a dash.
    return base64.urlsafe_b64encode(bytes([digest[0] & 0x7F]) + digest[1:]).decode().rstrip("=")


def _properties(text: str) -> dict[str, str]:
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise SettingsError(f"KAFKA_PROPERTIES: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError("KAFKA_PROPERTIES: must be a mapping of names to values")
    return {str(name): _text(value) for name, value in found.items()}


def _text(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "\n" in text:
        raise SettingsError("KAFKA_PROPERTIES: a value has a line break")
    return text


def _ports(environ: Mapping[str, str]) -> Ports:
    found = {}
    for name in ("clients", "peers", "controllers", "metrics"):
        text = environ.get(f"KAFKA_{name.upper()}_PORT", "")
        if text:
            if not text.isdecimal() or not 0 < int(text) < 65536:
                raise SettingsError(f"KAFKA_{name.upper()}_PORT: {text!r} is no port")
            found[name] = int(text)
    return Ports(**found)


def properties(settings: Settings) -> dict[str, str]:
    """The broker's properties. https://kafka.apache.org/42/configuration/broker-configs/"""
    ports, count = settings.ports, len(settings.brokers)
    replicas, in_sync = min(3, count), 2 if count >= 3 else 1
    # Not by its own name: a cluster tells that only once the broker is healthy, which it isn't without its controller.
    own = settings.listen or OWN_HOST
    hosts = [own if name == settings.name else name for name in settings.brokers]
    voters = ",".join(f"{number}@{host}:{ports.controllers}" for number, host in enumerate(hosts, 1))
    listeners = {"CLIENTS": ports.clients, "PEERS": ports.peers, "CONTROLLERS": ports.controllers}
    return {
        "process.roles": "broker,controller",
        "node.id": str(settings.node_id),
        "controller.quorum.voters": voters,
        "listeners": ",".join(f"{name}://{settings.listen}:{port}" for name, port in listeners.items()),
        "advertised.listeners": f"CLIENTS://{settings.name}:{ports.clients},PEERS://{settings.name}:{ports.peers}",
        "listener.security.protocol.map": "CLIENTS:SASL_SSL,PEERS:SSL,CONTROLLERS:SSL",
        "inter.broker.listener.name": "PEERS",
        "controller.listener.names": "CONTROLLERS",
        **_security(settings),
        "log.dirs": str(settings.data),
        # A topic has as many copies as there are brokers, up to three; with three, one may be away and nothing stops.
        "default.replication.factor": str(replicas),
        "offsets.topic.replication.factor": str(replicas),
        "transaction.state.log.replication.factor": str(replicas),
        "share.coordinator.state.topic.replication.factor": str(replicas),
        "min.insync.replicas": str(in_sync),
        "transaction.state.log.min.isr": str(in_sync),
        "share.coordinator.state.topic.min.isr": str(in_sync),
        # Whose grants say so makes topics by writing to them: a model's stream needs no administrator.
        "auto.create.topics.enable": "true",
        "num.partitions": "1",
        "log.retention.ms": str(7 * DAY_MS),
        "log.segment.bytes": str(256 << 20),
        # For a small machine: a stream of predictions, not a company's backbone.
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.num.partitions": "4",
        "log.cleaner.dedupe.buffer.size": str(16 << 20),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "4",
        "group.initial.rebalance.delay.ms": "500",
        "compression.type": "producer",
        "delete.topic.enable": "true",
        **settings.properties,
    }


def _security(settings: Settings) -> dict[str, str]:
    """Everything is refused that no grant allows. The certificate is its own authority: who shows it is a broker."""
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(settings.certificate),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(settings.certificate),
        "ssl.client.auth": "none",
        "listener.name.peers.ssl.client.auth": "required",
        "listener.name.controllers.ssl.client.auth": "required",
        "ssl.enabled.protocols": "TLSv1.2,TLSv1.3",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": login,
        # A session begun with a password that was replaced ends within the hour.
        "connections.max.reauth.ms": "3600000",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:{PEER};User:{ADMIN}",
    }
