# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A run's job: what a deployment may say of it, and the workload that is made of that."""

from __future__ import annotations

import shlex
from typing import Any, ClassVar
from uuid import UUID

from prefect.settings import get_current_settings
from prefect.workers.base import BaseJobConfiguration, BaseVariables
from pydantic import Field

from .agent import DEFAULT_PATIENCE, FLOW_RUN, PATIENCE, POOL

COMMAND = "prefect flow-run execute"
OWN_IMAGE = "run"
PASSED_ON = frozenset(
    {
        "PREFECT_API_URL",
        "PREFECT_CLIENT_MAX_RETRIES",
        "PREFECT_CLIENT_RETRY_EXTRA_CODES",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY",
        "PREFECT_LOGGING_LEVEL",
        "PREFECT_UI_URL",
    }
)
"""The worker's settings that its runs get, too. None of them is a secret."""
UNUSED = ("name", "labels")
"""Of Prefect's own fields: a job is called after its run, and its labels say whose it is."""


class NoSuchImage(ValueError):
    """Neither a name that the pool knows nor a reference by digest."""


class ClusterVariables(BaseVariables):  # type: ignore[misc]
    """What a deployment, or a single run, may set."""

    image: str = Field(
        default="pipelines",
        description="A name that the pool knows, or a reference by digest in the site's registry.",
    )
    cpu_request: float | None = Field(
        default=None, title="CPU Request", description="Cores that a node must have free."
    )
    memory_request: str | None = Field(default=None, description="Memory that a node must have free, such as 512Mi.")
    cpu_limit: float = Field(default=1.0, title="CPU Limit", description="Most cores that the run gets.")
    memory_limit: str = Field(default="1Gi", description="Most memory that the run gets, its scratch space included.")
    gpu: int = Field(default=0, title="GPUs", description="Whole GPUs, which it has for itself.")
    generic: dict[str, int] = Field(
        default_factory=dict,
        title="Generic Resources",
        description="How many of what else nodes offer, by name.",
    )
    node_labels: dict[str, str] = Field(default_factory=dict, description="Labels that a node must have.")
    tolerations: list[dict[str, str]] = Field(
        default_factory=list,
        description="Taints of nodes that are no obstacle, on Kubernetes: key, and value and effect where not all.",
    )
    scratch_size: str = Field(default="512Mi", description="Space in /tmp, in memory.")
    secrets: list[str] = Field(
        default_factory=list, description="More secrets that are lent to pipelines; files in /run/secrets."
    )
    pending_timeout: float = Field(
        default=DEFAULT_PATIENCE,
        gt=0,
        description="Seconds that the run may wait for a node before it counts as crashed.",
    )
    stop_grace: float = Field(default=30.0, ge=0, description="Seconds between being told to stop and being killed.")


class ClusterJobConfiguration(BaseJobConfiguration):  # type: ignore[misc]
    """`images` (names and references), `base_secrets` (those that each run has), `connects`, `egress` and `configs` are
    the platform's to say, in the pool."""

    image: str = "pipelines"
    cpu_request: float | None = None
    memory_request: str | None = None
    cpu_limit: float = 1.0
    memory_limit: str = "1Gi"
    gpu: int = 0
    generic: dict[str, int] = Field(default_factory=dict)
    node_labels: dict[str, str] = Field(default_factory=dict)
    tolerations: list[dict[str, str]] = Field(default_factory=list)
    scratch_size: str = "512Mi"
    secrets: list[str] = Field(default_factory=list)
    pending_timeout: float = DEFAULT_PATIENCE
    stop_grace: float = 30.0
    images: dict[str, str] = Field(default_factory=dict)
    base_secrets: list[str] = Field(default_factory=list)
    connects: list[str] = Field(default_factory=list)
    egress: list[dict[str, Any]] = Field(default_factory=list)
    configs: list[dict[str, Any]] = Field(default_factory=list)

    THE_PLATFORMS: ClassVar[tuple[str, ...]] = ("images", "base_secrets", "connects", "egress", "configs")

    @classmethod
    def json_template(cls) -> dict[str, Any]:
        template = super().json_template()
        kept = {name: value for name, value in template.items() if name not in (*UNUSED, *cls.THE_PLATFORMS)}
        return {**kept, "images": {}, "base_secrets": [], "connects": [], "egress": [], "configs": []}

    @classmethod
    def _base_environment(cls) -> dict[str, str]:
        found = get_current_settings().to_environment_variables(exclude_unset=True)
        return {name: value for name, value in found.items() if name in PASSED_ON}

    def body(self, name: str, flow_run: UUID, pool: str) -> dict[str, Any]:
        """What the agent is asked to run. Raises NoSuchImage."""
        image, reference = self._image()
        command = [] if (self.command or COMMAND) == COMMAND else shlex.split(self.command or "")
        requests = {"cpu": self.cpu_request, "memory": self.memory_request, "gpu": self.gpu}
        workload = {
            "name": name,
            "kind": "job",
            "image": image,
            "args": ["prefect-entrypoint", "run", *command],
            "env": {key: value for key, value in self.env.items() if value is not None},
            "configs": self.configs,
            "secrets": [
                {"name": secret, "path": f"/run/secrets/{secret}"}
                for secret in dict.fromkeys([*self.base_secrets, *self.secrets])
            ],
            "scratch": [{"path": "/tmp", "size": self.scratch_size}],  # noqa: S108  the container's own
            "resources": {
                "requests": {key: value for key, value in requests.items() if value},
                "limits": {"cpu": self.cpu_limit, "memory": self.memory_limit},
                "generic": self.generic,
            },
            "placement": {"labels": self.node_labels, "tolerations": self.tolerations},
            "connects": self.connects,
            "egress": self.egress,
            "stop_grace": self.stop_grace,
            "labels": {FLOW_RUN: str(flow_run), POOL: pool, PATIENCE: f"{self.pending_timeout:g}"},
        }
        return {"workload": workload, "images": {image: reference}}

    def _image(self) -> tuple[str, str]:
        if self.image in self.images:
            return self.image, self.images[self.image]
        if "@sha256:" in self.image:
            return OWN_IMAGE, self.image
        known = ", ".join(sorted(self.images)) or "none"
        raise NoSuchImage(f"there is no image {self.image!r} here (known: {known}), and it is no reference by digest")


def base_job_template() -> dict[str, Any]:
    """The pool's template, before a site puts its own into it."""
    variables = ClusterVariables.model_json_schema()
    variables.pop("title", None)
    variables.pop("description", None)
    for name in UNUSED:
        variables["properties"].pop(name, None)
    return {"job_configuration": ClusterJobConfiguration.json_template(), "variables": variables}
