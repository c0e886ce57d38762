# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A small platform, in the module's words: a gateway, a store with data and secrets, a page with a job, a model."""

from __future__ import annotations

from typing import Any

DIGEST = "@sha256:" + "1" * 64
IMAGES = {"one": f"registry.example.org/one{DIGEST}", "two": "registry.example.org/two:0123456789abcdef"}
SECRETS = {
    "store_password": "correct horse battery staple",
    "certificate_key": "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----\n",
    "registry_password": "opens the registry",
}
REGISTRY = {"username": "puller", "password": SECRETS["registry_password"], "server": "registry.example.org"}
SERVED = {"ports": [{"name": "http", "port": 8080}], "probes": {"liveness": {"http": {"port": "http"}}}}
PLATFORM: list[dict[str, Any]] = [
    {
        "name": "gateway",
        "image": "one",
        "ports": [{"name": "http", "port": 8080, "published": 80}],
        "secrets": [{"name": "certificate_key"}],
        "zone": "edge",
        "connects": ["agent"],
    },
    {"name": "agent", "image": "one", "zone": "edge", "cluster_access": True, **SERVED},
    {
        "name": "store",
        "image": "two",
        "secrets": [{"name": "store_password"}, {"name": "store_password", "path": "/run/again"}],
        "configs": [{"path": "/etc/store.ini", "content": "[store]\ncolour = red\n"}],
        "volumes": [{"name": "data", "path": "/data", "size": "1Gi"}],
        "zone": "data",
        **SERVED,
    },
    {
        "name": "page",
        "image": "one",
        "env": {"HASH": "12e45", "YES": "yes"},
        "routes": [{"name": "page", "host": "page", "port": "http"}],
        "zone": "edge",
        "connects": ["store"],
        "jobs": [
            {
                "name": "page-job",
                "image": "one",
                "args": ["true"],
                "secrets": [{"name": "store_password"}],
                "connects": ["store"],
            }
        ],
        **SERVED,
    },
]
MODELS: list[dict[str, Any]] = [
    {
        "name": "model-iris",
        "image": "one",
        "routes": [{"name": "rest", "path": "/seldon/t/iris", "port": "http"}],
        "secrets": [{"name": "store_password"}],
        "zone": "models",
        "connects": ["page"],
        **SERVED,
    }
]
