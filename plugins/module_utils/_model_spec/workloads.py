# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""From a model's declaration and its versions to the workloads that serve them: a pure function."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .reading import Scalar
from .spec import Amount, ModelSpec

HTTP_PORT = 9000
GRPC_PORT = 9500
METRICS_PORT = 6000
MODEL_CLASS = "mlops_runtime.serving.MLflowModel"
PASSWORD_FILE = "/run/secrets/mlflow_serving_password"  # noqa: S105 - a path
CACHE = "/var/cache/mlops"

#: What follows ``model-<name>`` in the name of the workload that serves a role's version.
ROLES = {"champion": "", "challenger": "--b", "shadow": "--s"}


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version in the registry and the role that an alias gives it.

    ``image`` is a name of the artefact table or of the mapping that goes to the workload module; ``sha256`` is the tree
    digest of the version's files.
    """

    version: str
    image: str
    sha256: str = ""
    role: str = "champion"


@dataclass(frozen=True, slots=True)
class Broker:
    """How the model servers write the prediction stream: the slot's contract for its client ``serving``."""

    prefix: str
    workloads: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[Mapping[str, str], ...] = ()
    configs: tuple[Mapping[str, str], ...] = ()
    egress: tuple[Mapping[str, object], ...] = ()

    @classmethod
    def of(cls, contract: Mapping[str, Any], *, client: str = "serving") -> Broker:
        """From the fact ``mlops_broker``."""
        user = contract["users"][client]
        brokers = {address.rpartition(":")[0] for address in str(contract["bootstrap"]).split(",")}
        return cls(
            prefix=str(contract["prefix"]),
            # The brokers alone: their job is in another set, and done when models are served.
            workloads=tuple(name for name in contract["workloads"] if name in brokers),
            env={**contract["env"], **user["env"]},
            secrets=tuple(user["secrets"]),
            configs=tuple(contract["configs"]),
            egress=tuple(contract["egress"]),
        )

    def topic(self, model: str) -> str:
        return f"{self.prefix}{model}"


@dataclass(frozen=True, slots=True)
class Platform:
    """What the workloads need to know about where they run."""

    name: str
    tracking_uri: str = "http://mlflow:5000"
    tracking_user: str = "serving"
    password_secret: str = "mlflow_serving_password"  # noqa: S105 - the name of a secret
    registry_workload: str = "mlflow"
    broker: Broker | None = None
    """None where there is none: then nothing is logged."""


def workload_name(model: str, role: str = "champion") -> str:
    return f"model-{model}{ROLES[role]}"


def prediction_path(platform: str, model: str) -> str:
    return f"/seldon/{platform}/{model}"


def workloads(spec: ModelSpec, versions: Iterable[ModelVersion], platform: Platform) -> list[dict[str, object]]:
    """One workload a version. The champion has the model's routes; the others get what the gateway sends them."""
    return [
        _workload(spec, version, platform)
        for version in sorted(versions, key=lambda item: list(ROLES).index(item.role))
    ]


def _workload(spec: ModelSpec, version: ModelVersion, platform: Platform) -> dict[str, object]:
    workload = _server(spec, version, platform)
    return _logged(workload, spec, platform.broker) if spec.records and platform.broker else workload


def _logged(workload: dict[str, Any], spec: ModelSpec, broker: Broker) -> dict[str, object]:
    """The same, with its predictions written to the stream."""
    if spec.records is None:
        raise AssertionError("spec.records")
    records = {"MLOPS_RECORDS": broker.topic(spec.name), "MLOPS_RECORDS_SAMPLE": f"{spec.records.sample:g}"}
    return {
        **workload,
        "env": {**workload["env"], **broker.env, **records},
        "secrets": [*workload["secrets"], *(dict(secret) for secret in broker.secrets)],
        "configs": [dict(config) for config in broker.configs],
        "connects": [*workload["connects"], *broker.workloads],
        "egress": [dict(place) for place in broker.egress],
    }


def _server(spec: ModelSpec, version: ModelVersion, platform: Platform) -> dict[str, Any]:
    return {
        "name": workload_name(spec.name, version.role),
        "kind": "service",
        "image": version.image,
        "env": _env(spec, version, platform),
        "secrets": [{"name": platform.password_secret, "path": PASSWORD_FILE}],
        "ports": [
            {"name": "http", "port": HTTP_PORT, "protocol": "tcp"},
            {"name": "grpc", "port": GRPC_PORT, "protocol": "tcp"},
            {"name": "metrics", "port": METRICS_PORT, "protocol": "tcp"},
        ],
        "routes": _routes(spec, platform) if version.role == "champion" else [],
        "volumes": [{"name": "model-cache", "path": CACHE, "size": "10Gi", "scope": "node"}],
        "scratch": [{"path": "/tmp", "size": "64Mi"}],  # noqa: S108 - a mount inside the container
        "probes": _probes(),
        "replicas": spec.replicas,
        "resources": {"requests": _amount(spec.resources.requests), "limits": _amount(spec.resources.limits)},
        "placement": {"labels": dict(spec.placement.labels), "spread": spec.placement.spread or None},
        "user": "10001:10001",
        "read_only": True,
        "zone": "models",
        "connects": [platform.registry_workload],
        "metrics": {"port": "metrics", "path": "/prometheus"},
        "update": {"order": "start-first", "batch": 1, "health_window": 60, "rollback": True},
        "stop_grace": 30,
        "labels": {
            "model": spec.name,
            "model.version": version.version,
            "model.role": version.role,
        },
    }


def _env(spec: ModelSpec, version: ModelVersion, platform: Platform) -> dict[str, str]:
    env = {
        "MODEL_NAME": spec.model_class.name if spec.model_class else MODEL_CLASS,
        "SERVICE_TYPE": "MODEL",
        "PREDICTIVE_UNIT_ID": spec.name,
        # Seldon's metrics take the model's version from here, and the predictor's from the labels.
        "PREDICTIVE_UNIT_IMAGE": f"{version.image}:{version.version}",
        "PREDICTOR_LABELS": json.dumps({"version": version.version}),
        "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": str(HTTP_PORT),
        "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": str(GRPC_PORT),
        "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": str(METRICS_PORT),
        "PREDICTIVE_UNIT_METRICS_ENDPOINT": "/prometheus",
        "PREDICTIVE_UNIT_PARAMETERS": _parameters(spec),
        "SELDON_DEPLOYMENT_ID": spec.name,
        "PREDICTOR_ID": version.role,
        "MLOPS_MODEL": spec.name,
        "MLOPS_MODEL_VERSION": version.version,
        "MLFLOW_TRACKING_URI": platform.tracking_uri,
        "MLFLOW_TRACKING_USERNAME": platform.tracking_user,
        "MLFLOW_TRACKING_PASSWORD_FILE": PASSWORD_FILE,
    }
    if version.sha256:
        env["MLOPS_MODEL_SHA256"] = version.sha256
    if spec.batching:
        env["MLOPS_BATCH_MAX_ROWS"] = str(spec.batching.max_rows)
        env["MLOPS_BATCH_WAIT_MS"] = f"{spec.batching.wait_ms:g}"
    return {**env, **spec.env}


def _parameters(spec: ModelSpec) -> str:
    """Seldon's typed parameters: the class is made with them by name."""
    values: dict[str, Scalar] = dict(spec.parameters)
    if not spec.model_class:
        values.setdefault("method", spec.method)
    return json.dumps([_parameter(name, value) for name, value in sorted(values.items())], separators=(",", ":"))


def _parameter(name: str, value: Scalar) -> dict[str, str]:
    kind = "BOOL" if isinstance(value, bool) else {int: "INT", float: "DOUBLE"}.get(type(value), "STRING")
    return {"name": name, "value": str(value).lower() if isinstance(value, bool) else str(value), "type": kind}


def _routes(spec: ModelSpec, platform: Platform) -> list[dict[str, object]]:
    """REST by path, which is taken off on the way; gRPC by the metadata that Seldon's clients send."""
    headers = {"seldon": spec.name, "namespace": platform.name}
    rest: dict[str, object] = {
        "name": "rest",
        "path": prediction_path(platform.name, spec.name),
        "port": "http",
        "scheme": "http",
        "strip_path": True,
    }
    calls: list[dict[str, object]] = [
        {
            "name": f"grpc-{service.lower()}",
            "path": f"/seldon.protos.{service}",
            "headers": headers,
            "port": "grpc",
            "scheme": "h2c",
        }
        for service in ("Seldon", "Model")
    ]
    return [rest, *calls]


def _probes() -> dict[str, object]:
    """A model may take minutes to come from the registry and to load; once loaded, it answers or is replaced. A rolling
    update takes the old replica away when the new one is live, so being live means being loaded."""
    loaded = {"http": {"port": HTTP_PORT, "path": "/health/status"}, "timeout": 5}
    return {
        "startup": {"interval": 2, "timeout": 5, "retries": 3, "start_period": 300},
        "liveness": {**loaded, "interval": 5, "retries": 6},
        "readiness": {**loaded, "interval": 2, "retries": 3},
    }


def _amount(amount: Amount) -> dict[str, object]:
    return {"cpu": amount.cpu, "memory": amount.memory, "gpu": amount.gpu}
