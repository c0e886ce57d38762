# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from _workload import parse
from mlops_runtime.agent.clients import Client
from mlops_runtime.agent.policy import problems

CLIENT = Client(
    "lifecycle",
    sets=frozenset({"models"}),
    secrets=frozenset({"mlflow_serving_password"}),
    connects=frozenset({"mlflow"}),
    egress=frozenset({"kafka.example.org:9093"}),
    paths=("/seldon/mlops/", "/seldon.protos."),
)
IMAGES = {"model": "127.0.0.1:5000/model-abc@sha256:" + "a" * 64}
MODEL: dict[str, Any] = {
    "name": "model-phishing",
    "image": "model",
    "ports": [{"name": "http", "port": 9000}],
    "routes": [{"name": "rest", "path": "/seldon/mlops/phishing", "port": "http", "strip_path": True}],
    "secrets": [{"name": "mlflow_serving_password"}],
    "resources": {"limits": {"cpu": 1, "memory": "512Mi"}},
    "zone": "models",
    "connects": ["mlflow"],
}


def found(change: dict[str, Any] | None = None, images: dict[str, str] | None = None, **job: Any) -> list[str]:
    workload = {**MODEL, **(change or {})}
    if job:
        workload["jobs"] = [{"name": "prepare", "image": "model", "resources": MODEL["resources"], **job}]
    return problems(
        CLIENT,
        parse([workload]),
        IMAGES if images is None else images,
        registry="127.0.0.1:5000",
        domain="example.org",
        others={"mlflow": "platform"},
        routes={("mlflow.example.org", "/"): "mlflow", (None, "/seldon/mlops/taken"): "model-taken"},
    )


def test_a_model_as_the_controller_makes_it_is_accepted() -> None:
    assert found() == []
    assert found({"egress": [{"host": "kafka.example.org", "port": 9093}]}) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cluster_access": True}, "cluster_access"),
        ({"capabilities": ["SYS_ADMIN"]}, "capabilities"),
        ({"read_only": False}, "read_only"),
        ({"user": "10001:0"}, "user"),
        ({"placement": {"manager": True}}, "placement.manager"),
        ({"replicas": 100000}, "replicas"),
        ({"resources": {}}, "resources.limits"),
        ({"ports": [{"name": "http", "port": 9000, "published": 8080}]}, "ports.http.published"),
        ({"name": "mlflow", "connects": []}, "name"),
        ({"zone": "data"}, "zone"),
        ({"connects": ["postgresql"]}, "connects"),
        ({"egress": [{"host": "db.example.org", "port": 5432}]}, "egress"),
        ({"secrets": [{"name": "postgresql_admin_password"}]}, "secrets"),
        ({"secrets": [{"name": "mlflow_serving_password", "path": "/etc/passwd"}]}, "secrets"),
        ({"secrets": [{"name": "mlflow_serving_password", "path": "/run/secrets/../../etc/passwd"}]}, "secrets"),
        ({"image": "other"}, "image"),
        ({"routes": [{"name": "r", "host": "mlflow", "port": "http"}]}, "routes.r.host"),
        ({"routes": [{"name": "r", "host": "evil.org", "subdomain": False, "port": "http"}]}, "routes.r.subdomain"),
        ({"routes": [{"name": "r", "path": "/", "port": "http"}]}, "routes.r.path"),
        ({"routes": [{"name": "r", "path": "/seldon/mlops/x", "priority": 9999, "port": "http"}]}, "routes.r.priority"),
        ({"routes": [{"name": "r", "path": "/seldon/mlops/taken", "port": "http"}]}, "routes.r"),
    ],
)
def test_what_would_reach_further_is_refused(change: dict[str, Any], field: str) -> None:
    reasons = found(change)
    name = change.get("name", "model-phishing")
    assert any(reason.startswith(f"{name}.{field}") for reason in reasons), reasons


@pytest.mark.parametrize(
    "reference",
    [
        "127.0.0.1:5000/model:latest",
        "docker.io/library/alpine@sha256:" + "a" * 64,
        "model@sha256:" + "a" * 64,
        "127.0.0.1:5000/model@sha256:" + "a" * 63,
        "127.0.0.1:5000/../evil@sha256:" + "a" * 64,
        "evil/127.0.0.1:5000/model@sha256:" + "a" * 64,
        "127.0.0.1:5000/model@sha256:" + "a" * 64 + "\n",
    ],
)
def test_images_are_of_the_sites_registry_and_by_digest(reference: str) -> None:
    assert any(reason.startswith("images.model:") for reason in found(images={"model": reference}))


def test_without_a_registry_no_image_will_do() -> None:
    reasons = problems(CLIENT, parse([MODEL]), IMAGES, registry="", domain="d", others={}, routes={})
    assert reasons == ["images.model: is not of the site's registry (none is set)"]


def test_jobs_are_judged_like_workloads() -> None:
    reasons = found(connects=["postgresql"], secrets=[{"name": "postgresql_admin_password"}])
    assert [reason.split(":")[0] for reason in reasons] == ["prepare.connects", "prepare.secrets"]


def test_everything_is_said_at_once() -> None:
    assert len(found({"cluster_access": True, "read_only": False, "zone": "edge"}, images={})) == 4
