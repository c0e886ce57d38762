# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""From a workload to Kubernetes' objects: a pure function.

The objects are what server-side apply sends: fields that are ours, in the form that the API server keeps. What
Kubernetes can't do is refused aloud.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..model import Workload, canonical
from ..rendering import metrics, refuse_plain_secrets, routes
from .access import account
from .files import files
from .namespaces import namespaces
from .network import policies, services
from .pod import pod, stop_time
from .probes import start_budget
from .site import (
    IMAGE,
    LABELS,
    MANAGED_BY,
    METRICS,
    NAME,
    PART_OF,
    ROUTES,
    UPDATE,
    KubernetesFacts,
    KubernetesSite,
    manifest,
    site_for,
)
from .syntax import is_dns_label, is_label_value, is_qualified_name, is_service_name

__all__ = [
    "KubernetesFacts",
    "KubernetesRendered",
    "KubernetesSite",
    "collisions",
    "namespaces",
    "render",
    "site_for",
    "start_budget",
]

ANNOTATIONS_LIMIT = 256 * 1024  # bytes of an object's annotations, keys and values
REVISIONS = 2  # old ReplicaSets and revisions that are kept
OURS = ("mlops.onprem", "kubernetes.io", "k8s.io")  # prefixes of labels that nobody else sets


@dataclass(frozen=True)
class KubernetesRendered:
    """``manifests`` in order of application; the last one is the Deployment, StatefulSet or Job. ``namespace`` is where
    the Pods are; some of the manifests are at the peers."""

    workload: Workload
    namespace: str
    manifests: list[dict[str, Any]]
    jobs: list[KubernetesRendered]
    notes: list[str]

    @property
    def main(self) -> dict[str, Any]:
        return self.manifests[-1]

    @property
    def name(self) -> str:
        return str(self.main["metadata"]["name"])

    @property
    def image(self) -> str:
        return str(self.main["spec"]["template"]["spec"]["containers"][0]["image"])


def render(workload: Workload, site: KubernetesSite, problems: list[str], *, at: str = "") -> KubernetesRendered:
    """Adds what can't be done to ``problems``, each with the field's path; what is returned is of use without any."""
    at = at or workload.name
    notes: list[str] = []
    refuse_plain_secrets(workload, site, problems, at)
    _check_names(workload, site, problems, at)
    found = files(workload, site, problems, at)
    template = pod(workload, site, found, problems, at)
    if workload.placement.manager and not workload.cluster_access:
        notes.append(f"{workload.name}.placement.manager: has no meaning here, where managers run no workloads")
    objects = [*account(workload, site), *found.objects, *policies(workload, site, notes)]
    if not workload.is_job:
        objects += services(workload, site, notes)
        objects += _disruption_budget(workload, site)
    objects.append(_controller(workload, site, template, problems, at))
    jobs = [render(job, site, problems, at=f"{at}.jobs.{job.name}") for job in workload.jobs]
    return KubernetesRendered(workload, site.namespace_of(workload), objects, jobs, [*found.notes, *notes])


def collisions(rendered: Iterable[KubernetesRendered]) -> list[str]:
    """Objects of one kind and name that two workloads would make."""
    owners: dict[tuple[str, str, str], str] = {}
    problems = []
    for item in (one for service in rendered for one in (*service.jobs, service)):
        name = item.workload.name
        for thing in item.manifests:
            meta = thing["metadata"]
            owner = owners.setdefault((thing["kind"], meta["namespace"], meta["name"]), name)
            if owner != name:
                problems.append(f"{name}: its {thing['kind']} {meta['name']} would be {owner}'s: rename one of them")
    return problems


def _check_names(workload: Workload, site: KubernetesSite, problems: list[str], at: str) -> None:
    if not workload.is_job and not is_service_name(workload.name):
        problems.append(f"{at}.name: {workload.name!r}: a Service's name begins with a letter")
    if not is_dns_label(workload.name):
        problems.append(f"{at}.name: {workload.name!r} is not a DNS label")
    if workload.name == "default":
        problems.append(f"{at}.name: 'default' is the name of every namespace's own ServiceAccount")
    if not is_label_value(site.set_name):
        problems.append(f"{at}: the set's name {site.set_name!r} can't be the value of a label")


def _controller(
    workload: Workload, site: KubernetesSite, template: dict[str, Any], problems: list[str], at: str
) -> dict[str, Any]:
    namespace = site.namespace_of(workload)
    labels, annotations = _own_labels(workload, site, problems, at)
    if workload.is_job:
        name = f"{workload.name}-{_job_hash(template)}"
        found = manifest("batch/v1", "Job", name, namespace, labels, spec=_job(template))
    elif workload.has_data:
        spec = _stateful_set(workload, site, template)
        found = manifest("apps/v1", "StatefulSet", workload.name, namespace, labels, spec=spec)
    else:
        spec = _deployment(workload, site, template)
        found = manifest("apps/v1", "Deployment", workload.name, namespace, labels, spec=spec)
    found["metadata"]["annotations"] = annotations
    return found


def _own_labels(
    workload: Workload, site: KubernetesSite, problems: list[str], at: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations of the controller. The workload's own labels are labels as far as Kubernetes' syntax
    allows, else annotations; one annotation has them all, so that they can be read back."""
    labels = site.labels(workload)
    annotations = {
        IMAGE: workload.image,
        UPDATE: canonical({"health_window": workload.update.health_window, "rollback": workload.update.rollback}),
    }
    if workload.routes:
        annotations[ROUTES] = canonical(routes(workload, site.domain))
    if workload.metrics:
        annotations[METRICS] = canonical(metrics(workload))
    if workload.labels:
        annotations[LABELS] = canonical(workload.labels)
    for key, value in workload.labels.items():
        if key in (NAME, PART_OF, MANAGED_BY) or _reserved(key):
            problems.append(f"{at}.labels.{key}: is not the workload's to set on Kubernetes")
        elif not is_qualified_name(key):
            continue
        elif is_label_value(value):
            labels[key] = value
        else:
            annotations[key] = value
    total = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if total > ANNOTATIONS_LIMIT:
        problems.append(
            f"{at}: routes, metrics and labels have {total} bytes as annotations, Kubernetes takes {ANNOTATIONS_LIMIT}"
        )
    return labels, dict(sorted(annotations.items()))


def _reserved(key: str) -> bool:
    prefix = key.rpartition("/")[0]
    if prefix == "app.kubernetes.io":
        return False
    return any(prefix == ours or prefix.endswith(f".{ours}") for ours in OURS)


def _deployment(workload: Workload, site: KubernetesSite, template: dict[str, Any]) -> dict[str, Any]:
    batch = workload.update.batch
    strategy: dict[str, Any]
    deadline = max(workload.update.health_window, start_budget(workload))
    if not site.alone(workload):
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": batch, "maxUnavailable": 0}}
    else:
        deadline += stop_time(workload, site)
        if workload.replicas > 1:
            strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": batch}}
        else:
            strategy = {"type": "Recreate"}
    return {
        "replicas": workload.replicas,
        "selector": {"matchLabels": site.selector(workload.name)},
        "strategy": strategy,
        "minReadySeconds": 0,
        "progressDeadlineSeconds": math.ceil(deadline) + 1,
        "revisionHistoryLimit": REVISIONS,
        "template": template,
    }


def _stateful_set(workload: Workload, site: KubernetesSite, template: dict[str, Any]) -> dict[str, Any]:
    return {
        "replicas": workload.replicas,
        "serviceName": workload.name,
        "selector": {"matchLabels": site.selector(workload.name)},
        # In order, a Pod that never gets ready would block the version that replaces it.
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "minReadySeconds": 0,
        "revisionHistoryLimit": REVISIONS,
        "template": template,
    }


def _job(template: dict[str, Any]) -> dict[str, Any]:
    return {
        "backoffLimit": 0,
        # A node that is drained is no failure of the job's: it begins again elsewhere.
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "template": template,
    }


def _disruption_budget(workload: Workload, site: KubernetesSite) -> list[dict[str, Any]]:
    if workload.replicas < 2:
        return []
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": site.selector(workload.name)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",  # what serves nobody holds up no drain
    }
    namespace, labels = site.namespace_of(workload), site.labels(workload)
    return [manifest("policy/v1", "PodDisruptionBudget", workload.name, namespace, labels, spec=spec)]


def _job_hash(template: Mapping[str, Any]) -> str:
    """Over what the job does, not over where it runs and what it may use."""
    spec = {key: value for key, value in template["spec"].items() if key != "nodeSelector"}
    spec["containers"] = [
        {key: value for key, value in container.items() if key != "resources"} for container in spec["containers"]
    ]
    return hashlib.sha256(canonical(spec).encode()).hexdigest()[:10]
