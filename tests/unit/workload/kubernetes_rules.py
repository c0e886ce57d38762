# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' own rules, as far as rendering could break them: what the API server validates, what it would write
otherwise than it was sent, and Pod Security's profile `restricted` (of 1.34)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
KEY = re.compile(r"[-._a-zA-Z0-9]+")
ENV = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
HEADER = re.compile(r"[-A-Za-z0-9]+")
PORT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])*")
QUANTITY = re.compile(r"(\d+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|)")
UNITS = {unit: Fraction(1000) ** power for power, unit in enumerate(["", "k", "M", "G", "T", "P", "E"])}
UNITS |= {unit: Fraction(1024) ** power for power, unit in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], 1)}
UNITS["m"] = Fraction(1, 1000)
# What a list is keyed by where server-side apply merges it item by item.
KEYED = {
    "containers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
}
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def value(quantity: str) -> Fraction:
    match = QUANTITY.fullmatch(quantity)
    assert match, quantity
    return int(match[1]) * UNITS[match[2]]


def canonical(quantity: str) -> bool:
    """No larger suffix would do without a fraction."""
    match = QUANTITY.fullmatch(quantity)
    if match is None or (match[1] != "0" and match[1].startswith("0")):
        return False
    amount, unit = int(match[1]), match[2]
    if amount == 0:
        return unit == ""
    return bool(amount % (1024 if unit.endswith("i") else 1000)) or unit in ("Ei", "E")


def violations(found: dict[str, Any]) -> list[str]:
    """What is wrong with a manifest, whatever its kind."""
    kind, meta = found["kind"], found["metadata"]
    wrong = [*_metadata(kind, meta)]
    if kind in ("ConfigMap", "Secret"):
        wrong += _content(kind, found)
    if kind == "Service":
        wrong += _ports(found["spec"].get("ports", []), "port")
    if kind == "PersistentVolumeClaim" and not canonical(found["spec"]["resources"]["requests"]["storage"]):
        wrong.append("storage is not canonical")
    spec = found.get("spec", {})
    if "template" in spec:
        labels = spec["template"]["metadata"]["labels"]
        wrong += _labels(labels, "template")
        selector = spec.get("selector", {}).get("matchLabels", {})
        wrong += [f"selector {key} is not in the template" for key in selector if labels.get(key) != selector[key]]
        wrong += _pod(spec["template"]["spec"])
    return [f"{kind} {meta['name']}: {text}" for text in wrong]


def _metadata(kind: str, meta: dict[str, Any]) -> Iterator[str]:
    name = meta["name"]
    if kind in ("Namespace", "StatefulSet", "Job"):  # the last two name Pods, whose host name is a label
        fits, most = LABEL.fullmatch(name), 63
    elif kind == "Service":
        fits, most = SERVICE.fullmatch(name), 63
    else:
        fits, most = SUBDOMAIN.fullmatch(name), 253
    if not fits or len(name) > most:
        yield "its name is not allowed"
    yield from _labels(meta["labels"], "metadata")
    annotations = meta.get("annotations", {})
    yield from (f"annotation {key!r}" for key in annotations if not _qualified(key.lower()))
    if sum(len(key) + len(text.encode()) for key, text in annotations.items()) > 256 * 1024:
        yield "its annotations are too big"


def _qualified(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    good = QUALIFIED.fullmatch(name) is not None and len(name) <= 63
    return good and (not slash or (SUBDOMAIN.fullmatch(prefix) is not None and len(prefix) <= 253))


def _labels(labels: dict[str, str], where: str) -> Iterator[str]:
    for key, text in labels.items():
        if not _qualified(key):
            yield f"{where} label {key!r}"
        if not isinstance(text, str) or len(text) > 63 or (text and not QUALIFIED.fullmatch(text)):
            yield f"{where} label {key} value {text!r}"


def _content(kind: str, found: dict[str, Any]) -> Iterator[str]:
    data = found["data"]
    raw = [base64.b64decode(text, validate=True) if kind == "Secret" else text.encode() for text in data.values()]
    if sum(map(len, raw)) > 2**20:
        yield "is too big"
    for key in data:
        if not KEY.fullmatch(key) or len(key) > 253 or key in (".", "..") or key.startswith(".."):
            yield f"key {key!r}"
    if "stringData" in found:
        yield "stringData is never read back"


def _ports(ports: list[dict[str, Any]], number: str) -> Iterator[str]:
    for port in ports:
        name = port["name"]
        if not PORT.fullmatch(name) or len(name) > 15 or "--" in name or not re.search("[a-z]", name):
            yield f"port name {name!r}"
        if not 1 <= port[number] <= 65535 or port["protocol"] not in ("TCP", "UDP"):
            yield f"port {port}"
    for what in (lambda port: port["name"], lambda port: (port[number], port["protocol"])):
        if len({what(port) for port in ports}) < len(ports):
            yield "ports are there twice"


def _pod(spec: dict[str, Any]) -> Iterator[str]:
    yield from _keyed(spec)
    if not isinstance(spec["terminationGracePeriodSeconds"], int) or spec["terminationGracePeriodSeconds"] < 0:
        yield "terminationGracePeriodSeconds"
    yield from _labels(spec.get("nodeSelector", {}), "nodeSelector")
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for volume in spec.get("volumes", []):
        if not LABEL.fullmatch(volume["name"]) or len(volume["name"]) > 63:
            yield f"volume {volume['name']!r}"
        limit = volume.get("emptyDir", {}).get("sizeLimit", "1")
        if not canonical(limit):
            yield f"sizeLimit {limit}"
        for item in (volume.get("configMap") or volume.get("secret") or {}).get("items", []):
            if not 0 <= item["mode"] <= 0o777 or item["path"].startswith(("/", "..")):
                yield f"item {item}"
    for container in spec["containers"]:
        yield from _container(container, volumes)


def _container(container: dict[str, Any], volumes: set[str]) -> Iterator[str]:
    if not LABEL.fullmatch(container["name"]) or len(container["name"]) > 63:
        yield f"container {container['name']!r}"
    if not re.fullmatch(r"[a-z0-9.:-]+(/[a-z0-9._-]+)+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", container["image"]):
        yield f"image {container['image']!r}"
    yield from _ports(container.get("ports", []), "containerPort")
    yield from (f"env {item['name']!r}" for item in container.get("env", []) if not ENV.fullmatch(item["name"]))
    for mount in container.get("volumeMounts", []):
        if (
            mount["name"] not in volumes
            or ":" in mount["mountPath"]
            or mount.get("subPath", "x").startswith(("/", ".."))
        ):
            yield f"mount {mount}"
    resources = container.get("resources", {})
    for kind, amounts in resources.items():
        for name, amount in amounts.items():
            if not canonical(amount) or (name == "cpu" and value(amount) % Fraction(1, 1000)):
                yield f"{kind}.{name} {amount}"
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name in limits:
        if name not in requests:
            yield f"{name}: all of its limit would be reserved"
        elif value(requests[name]) > value(limits[name]):
            yield f"{name}: asks for more than its limit"
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        if name in container:
            yield from (f"{name}: {text}" for text in _probe(container[name]))


def _probe(probe: dict[str, Any]) -> Iterator[str]:
    if len({"exec", "httpGet", "tcpSocket"} & set(probe)) != 1:
        yield "wants one check"
    for field in ("periodSeconds", "timeoutSeconds", "failureThreshold"):
        if not isinstance(probe[field], int) or not 1 <= probe[field] <= 2**31 - 1:
            yield f"{field} {probe[field]}"
    check = probe.get("httpGet") or probe.get("tcpSocket") or {"port": 1}
    if not 1 <= check["port"] <= 65535:
        yield f"port {check['port']}"
    for header in check.get("httpHeaders", []):
        if not HEADER.fullmatch(header["name"]):
            yield f"header {header['name']!r}"
    if probe.get("exec", {"command": ["x"]})["command"] == []:
        yield "an empty command"


def _keyed(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _keyed(item)
    elif isinstance(node, dict):
        for name, child in node.items():
            if name in KEYED and isinstance(child, list):
                keys = [tuple(item[key] for key in KEYED[name]) for item in child]
                if len(set(keys)) < len(keys):
                    yield f"{name}: twice the same key"
            yield from _keyed(child)


def restricted(spec: dict[str, Any], *, host_ports: bool = False) -> list[str]:
    """What Pod Security's profile `restricted` would refuse a Pod for; ``host_ports`` for the namespace that allows
    them."""
    wrong = [f"{field} is set" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    pod = spec.get("securityContext", {})
    wrong += [f"sysctl {item['name']}" for item in pod.get("sysctls", []) if item["name"] not in SAFE_SYSCTLS]
    wrong += [
        f"{where} in the Pod's securityContext"
        for where in ("seLinuxOptions", "windowsOptions", "appArmorProfile")
        if where in pod
    ]
    for volume in spec.get("volumes", []):
        wrong += [f"volume {volume['name']}: {kind}" for kind in set(volume) - {"name"} - VOLUMES]
    for container in [*spec.get("initContainers", []), *spec.get("ephemeralContainers", []), *spec["containers"]]:
        wrong += [f"{container['name']}: {text}" for text in _restricted(container, pod, host_ports)]
    return wrong


def _restricted(container: dict[str, Any], pod: dict[str, Any], host_ports: bool) -> Iterator[str]:
    own = container.get("securityContext", {})
    context = {**pod, **own}
    if own.get("privileged") or own.get("procMount", "Default") != "Default":
        yield "privileged, or its procMount"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"capabilities {capabilities}"
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if not host_ports and any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        for check in container.get(name, {}).values():
            if isinstance(check, dict) and check.get("host"):
                yield f"{name}: host"
