# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The workloads whose renderings are golden files, one folder a target."""

from __future__ import annotations

from typing import Any

SERVER = {
    "name": "web",
    "image": "one",
    "ports": [{"name": "http", "port": 8080}],
    "probes": {"liveness": {"http": {"port": "http", "path": "/live", "headers": {"Host": "web"}}}},
}
CASES: dict[str, dict[str, Any]] = {
    "least": {"name": "least", "image": "two"},
    "scraper": {"name": "scraper", "image": "two", "zone": "metrics", "connects": ["store"]},
    "server": {
        **SERVER,
        "command": ["tini", "--"],
        "args": ["serve", "--port=8080"],
        "env": {"Z": "1", "A": "a=b", "EMPTY": ""},
        "configs": [{"path": "/etc/web.ini", "content": "colour = red\n"}],
        "secrets": [{"name": "password", "path": "/run/secrets/password", "mode": "0440"}],
        "routes": [
            {"name": "page", "host": "web", "port": "http"},
            {
                "name": "calls",
                "path": "/calls",
                "port": "http",
                "scheme": "h2c",
                "strip_path": True,
                "priority": 9,
                "headers": {"model": "web"},
            },
            {"name": "elsewhere", "host": "web.example.com", "subdomain": False, "port": "http"},
        ],
        "scratch": [{"path": "/tmp", "size": "32Mi"}],
        "probes": {
            **SERVER["probes"],
            "startup": {"interval": 1, "start_period": 90, "timeout": 7},
            "readiness": {"http": {"port": "http", "path": "/ready"}},
        },
        "replicas": 3,
        "resources": {"requests": {"cpu": 0.25, "memory": "64Mi", "gpu": 1}, "limits": {"cpu": 2, "memory": "1Gi"}},
        "placement": {"labels": {"disk": "fast"}, "spread": "node"},
        "capabilities": ["NET_BIND_SERVICE"],
        "zone": "models",
        "connects": ["store", "broker"],
        "metrics": {"port": "http"},
        "update": {"batch": 2, "rollback": False},
        "stop_grace": 12.5,
        "labels": {"team": "a"},
    },
    "database": {
        "name": "store",
        "image": "one",
        "user": "999:998",
        "ports": [{"name": "sql", "port": 5432}],
        "volumes": [
            {"name": "data", "path": "/var/lib/data", "size": "10Gi"},
            {"name": "cache", "path": "/var/cache/data", "scope": "node"},
        ],
        "probes": {"liveness": {"command": ["ready?"], "interval": 10}, "startup": {"interval": 2, "retries": 100}},
        "zone": "data",
        "jobs": [{"name": "store-migrate", "image": "two", "args": ["migrate"], "secrets": [{"name": "secret"}]}],
    },
    "edge": {
        "name": "gateway",
        "image": "one",
        "ports": [
            {"name": "http", "port": 8080, "published": 80},
            {"name": "dns", "port": 53, "protocol": "udp", "published": 53},
        ],
        "probes": {"liveness": {"tcp": {"port": "http"}}},
        "read_only": False,
    },
    "agent": {"name": "agent", "image": "one", "cluster_access": True, "zone": "edge"},
}

# One that is started and not awaited.
RUN: dict[str, Any] = {
    "name": "run-0a1b",
    "image": "one",
    "kind": "job",
    "args": ["prefect-entrypoint", "run"],
    "env": {"PREFECT__FLOW_RUN_ID": "0a1b"},
    "secrets": [{"name": "secret", "path": "/run/secrets/secret", "mode": "0440"}],
    "scratch": [{"path": "/tmp", "size": "64Mi"}],
    "resources": {
        "requests": {"cpu": 0.5, "memory": "256Mi", "gpu": 1},
        "limits": {"cpu": 1, "memory": "512Mi"},
        "generic": {"example.com/fpga": 2},
    },
    "placement": {"labels": {"disk": "fast"}},
    "connects": ["store"],
    "labels": {"prefect.flow-run": "0a1b"},
}

# What Swarm has no words of its own for, and Kubernetes has.
KUBERNETES_CASES: dict[str, dict[str, Any]] = {
    **CASES,
    "agent": {
        **CASES["agent"],
        "ports": [{"name": "http", "port": 8080}],
        "secrets": [{"name": "secret", "path": "/run/secrets/tokens"}],
        "scratch": [{"path": "/tmp", "size": "16Mi"}],
        "probes": {
            "startup": {"http": {"port": "http", "path": "/healthz"}, "interval": 2, "start_period": 30},
            "liveness": {"http": {"port": "http", "path": "/healthz"}, "interval": 5},
            "readiness": {"http": {"port": "http", "path": "/readyz"}, "interval": 0.5, "retries": 6},
        },
        "resources": {"requests": {"cpu": 0.05, "memory": "48Mi"}, "limits": {"cpu": 1, "memory": "160Mi"}},
        "placement": {"manager": True, "spread": "node"},
        "metrics": {"port": "http"},
    },
    "gateway": {
        "name": "gateway",
        "image": "one",
        "args": ["traefik", "--configFile=/etc/traefik/traefik.yml"],
        "configs": [{"path": "/etc/traefik/traefik.yml", "content": "api: {}\n"}],
        "secrets": [{"name": "secret", "path": "/run/secrets/key"}],
        "ports": [
            {"name": "http", "port": 8080, "published": 80},
            {"name": "https", "port": 8443, "published": 443},
            {"name": "internal", "port": 8082},
        ],
        "probes": {"liveness": {"http": {"port": "internal", "path": "/ping"}, "interval": 5}},
        "replicas": 2,
        "placement": {"spread": "node"},
        "resources": {"limits": {"cpu": 2, "memory": "512Mi"}},
        "zone": "edge",
        "connects": ["agent"],
        "metrics": {"port": "internal"},
        "update": {"order": "stop-first"},
        "stop_grace": 15,
    },
    "job": {"name": "clean", "kind": "job", "image": "one", "args": ["sweep"], "connects": ["store", "gateway"]},
    "outside": {
        "name": "outside",
        "image": "two",
        "command": ["sh", "-c", 'echo "$(hostname) $$ ${HOME} $HOME"'],
        "env": {"PRICE": "5$", "REFERENCE": "$(PRICE)"},
        "ports": [{"name": "web", "port": 80}, {"name": "web-udp", "port": 80, "protocol": "udp"}],
        "routes": [{"name": "web", "port": "web"}],
        "egress": [
            {"host": "192.0.2.7", "port": 5432},
            {"host": "2001:db8::7", "port": 5432},
            {"host": "s3.example.com", "port": 443},
        ],
        "labels": {"team": "a", "note": "a value with spaces", "a/b/c": "no key of Kubernetes"},
    },
}
