# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the gateway is told: Traefik's dynamic configuration, a pure function of routes and the tasks behind them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

TRANSPORT = "mlops"
RETRY = "retry"
LONGEST_CHECK_SECONDS = 5.0
"""The gateway asks a service's tasks one after the other: one that is silent keeps it from the rest for so long."""


@dataclass(frozen=True)
class Readiness:
    """How a task says that it can take requests. Times in seconds."""

    port: int
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    interval: float = 2.0
    timeout: float = 2.0


@dataclass(frozen=True)
class Route:
    """One of a workload's routes; `host` is the whole name, None is the domain itself."""

    name: str
    port: int
    host: str | None = None
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"
    strip_path: bool = False
    priority: int | None = None


@dataclass(frozen=True)
class Routed:
    """A workload with routes, and the addresses of its tasks that may take requests."""

    workload: str
    routes: tuple[Route, ...]
    addresses: tuple[str, ...]
    readiness: Readiness | None = None


def configuration(
    services: Iterable[Routed], domain: str, aliases: Iterable[str] = (), tls: bool = False
) -> dict[str, Any]:
    """Routers, services and middlewares for Traefik 3's HTTP provider; the same for the same input, in any order."""
    routers: dict[str, Any] = {}
    balancers: dict[str, Any] = {}
    middlewares: dict[str, Any] = {RETRY: {"retry": _RETRY}}
    hosts = [domain, *aliases] if domain else []
    for service in sorted(services, key=lambda item: item.workload):
        for route in service.routes:
            # "_" is in no workload's and no route's name, so that two of them can't make one.
            name, balancer = f"{service.workload}_{route.name}", f"{service.workload}_{route.port}_{route.scheme}"
            chain = [RETRY]
            if route.strip_path and route.path.strip("/"):
                middlewares[f"{name}_strip"] = {"stripPrefix": {"prefixes": [route.path.rstrip("/")]}}
                chain.insert(0, f"{name}_strip")
            routers[name] = {
                "rule": rule(route, hosts),
                "priority": route.priority or _priority(route),
                "service": balancer,
                "middlewares": chain,
                "entryPoints": ["websecure" if tls else "web"],
                **({"tls": {}} if tls else {}),
            }
            balancers[balancer] = {"loadBalancer": _load_balancer(service, route)}
    # Traefik refuses an empty map of routers or services.
    return {
        "http": {
            **({"routers": routers} if routers else {}),
            **({"services": balancers} if balancers else {}),
            "middlewares": middlewares,
            "serversTransports": {TRANSPORT: _TRANSPORT},
        }
    }


def rule(route: Route, domain_hosts: Iterable[str]) -> str:
    """Traefik's rule of a route: host, path by whole segments, headers."""
    hosts = [route.host] if route.host else list(domain_hosts)
    terms = [" || ".join(f"Host({_quoted(host)})" for host in hosts)] if hosts else []
    prefix = route.path.rstrip("/")
    if prefix and route.path.endswith("/"):
        terms.append(f"PathPrefix({_quoted(route.path)})")
    elif prefix:
        terms.append(f"Path({_quoted(prefix)}) || PathPrefix({_quoted(prefix + '/')})")
    terms += [f"Header({_quoted(name)}, {_quoted(value)})" for name, value in sorted(route.headers.items())]
    if not terms:
        return "PathPrefix(`/`)"
    return " && ".join(f"({term})" if " || " in term and len(terms) > 1 else term for term in terms)


def _priority(route: Route) -> int:
    """The longer path goes first, then the one with more headers."""
    return 1 + 10 * len(route.path.rstrip("/")) + len(route.headers)


def _load_balancer(service: Routed, route: Route) -> dict[str, Any]:
    balancer: dict[str, Any] = {
        "serversTransport": TRANSPORT,
        "passHostHeader": True,
        # Streams and server-sent events aren't held back.
        "responseForwarding": {"flushInterval": "10ms"},
    }
    servers = [{"url": f"{route.scheme}://{authority(address, route.port)}"} for address in sorted(service.addresses)]
    if servers:
        balancer["servers"] = servers
    if service.readiness is not None:
        balancer["healthCheck"] = _health_check(service.readiness, route)
    return balancer


def _health_check(readiness: Readiness, route: Route) -> dict[str, Any]:
    headers = {name: value for name, value in sorted(readiness.headers.items()) if name.lower() != "host"}
    hostname = next((value for name, value in readiness.headers.items() if name.lower() == "host"), None)
    return {
        "path": readiness.path,
        "interval": _duration(max(readiness.interval, 1.0)),
        "timeout": _duration(min(readiness.timeout, LONGEST_CHECK_SECONDS)),
        "followRedirects": False,
        **({"port": readiness.port} if readiness.port != route.port else {}),
        **({"scheme": "http"} if route.scheme != "http" else {}),
        **({"hostname": hostname} if hostname else {}),
        **({"headers": headers} if headers else {}),
    }


# Nothing was sent yet (no connection): any request goes to the next server. It broke while under way: only what
# is harmless to repeat does, and only small bodies are kept for it, so that uploads are never buffered. A connection
# that is found closed, and then nobody at its address, is a 504.
_RETRY = {
    "attempts": 8,
    "initialInterval": "50ms",
    "timeout": "10s",
    "status": ["502", "504"],
    "maxRequestBodyBytes": 65536,
}

_TRANSPORT = {
    # Below every server's own keep-alive (gunicorn 2 s, uvicorn 5 s), or a request meets a connection just closed.
    "forwardingTimeouts": {
        "dialTimeout": "1s",
        "idleConnTimeout": "1s",
        "responseHeaderTimeout": "0s",
        "readIdleTimeout": "10s",
        "pingTimeout": "3s",
    },
    "maxIdleConnsPerHost": 200,
}


def authority(address: str, port: int) -> str:
    """Address and port as an URL has them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _quoted(text: str) -> str:
    return f"`{text}`" if "`" not in text else json.dumps(text)
