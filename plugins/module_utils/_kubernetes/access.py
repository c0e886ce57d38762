# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a cluster, before anything is applied to it: all that is wrong, at once."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .._workload.errors import WorkloadError
from .._workload.kubernetes.api import Api, ApiError
from .._workload.kubernetes.client import certificate_end
from .._workload.kubernetes.kinds import NAMESPACE, NODE, POD, SERVICE, STORAGE_CLASS, Kind
from .._workload.kubernetes.site import MANAGED_BY, MANAGER
from .._workload.kubernetes.site import NAMESPACE as OURS
from . import entry, nodes
from .rights import ACCESS, RULES, Right, attributes, granted, in_words, needed

OLDEST = (1, 30)
TRIED = (1, 34)
WHOAMI = Kind("SelfSubjectReview", "authentication.k8s.io/v1", "selfsubjectreviews", namespaced=False)
SOON = timedelta(days=7)
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_ENFORCED = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True)
class Wanted:
    """``options``: how the cluster is reached and used, as the seam takes it. ``ports``: what clients come in at, each
    with the variable that sets it. ``volumes``: whether anything is to be kept."""

    namespace: str
    options: Mapping[str, Any]
    ports: Mapping[int, str]
    volumes: bool = True

    @property
    def entry(self) -> str:
        return str(self.options.get("entry") or "host_port")

    @property
    def manages_namespaces(self) -> bool:
        return self.options.get("manage_namespaces") is not False

    @property
    def namespaces(self) -> list[str]:
        edge = [f"{self.namespace}-edge"] if self.entry == "host_port" else []
        return [self.namespace, *edge]


@dataclass
class Seen:
    """``able``: whether the cluster's API could be asked at all. ``ours``: our namespaces that are there."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    able: bool = False
    server: str = ""
    version: str = ""
    user: str = ""
    nodes: list[nodes.Node] = field(default_factory=list)
    ours: list[str] = field(default_factory=list)


def look(wanted: Wanted) -> Seen:
    """:raises WorkloadError: where Python's package is missing; what is wrong with the cluster is in the result."""
    seen = Seen()
    try:
        api = Api(wanted.options.get("kubeconfig"), wanted.options.get("context"))
    except WorkloadError as error:
        if "package is missing" in str(error):
            raise
        seen.problems.append(f"mlops_kubeconfig: {error}")
        return seen
    try:
        seen.server = api.client.server
        if _answers(api, seen):
            _Look(api, wanted, seen).all()
    finally:
        api.close()
    return seen


def _answers(api: Api, seen: Seen) -> bool:
    expired = api.client.expiry()
    if expired:
        seen.problems.append(f"mlops_kubeconfig: {api.client.source}: {expired}: get a new one")
        return False
    try:
        seen.version = str(api.get("/version").get("gitVersion") or "")
        seen.user = str(_review(api, WHOAMI)["userInfo"].get("username") or "")
    except ApiError as error:
        if error.status in (0, 401) or error.away:
            seen.problems.append(f"mlops_kubeconfig: {error}")
            return False
        seen.user = ""  # an API server that doesn't tell; what we may is asked below
    except (ValueError, AttributeError, KeyError, TypeError):
        seen.problems.append(f"mlops_kubeconfig: what answers at {seen.server} is no Kubernetes API")
        return False
    seen.able = True
    certificate = api.client.configuration.cert_file
    end = certificate_end(Path(certificate)) if certificate else None
    if end is not None and end - datetime.now(UTC) < SOON:
        seen.warnings.append(f"{api.client.source}: its client certificate expires on {end:%Y-%m-%d %H:%M} UTC")
    return True


def _review(api: Api, kind: Kind, **spec: Any) -> dict[str, Any]:
    """What the API server says to a question; nothing is kept."""
    question = {"apiVersion": kind.api, "kind": kind.name, "metadata": {}, **({"spec": spec} if spec else {})}
    found: dict[str, Any] = api.create(kind, question)["status"]
    return found


class _Look:
    def __init__(self, api: Api, wanted: Wanted, seen: Seen) -> None:
        self.api = api
        self.wanted = wanted
        self.seen = seen

    def all(self) -> None:
        """Everything that needs no other answer is asked at once."""
        wanted = self.wanted
        rights = needed(wanted.namespaces, manage_namespaces=wanted.manages_namespaces)
        clusterwide = [right for right in rights if not right.namespace]
        questions: dict[str, Callable[[], Any]] = {
            "classes": lambda: self.api.items(STORAGE_CLASS),
            "nodes": lambda: self.api.items(NODE),
        }
        if wanted.ports and wanted.entry == "host_port":
            questions["pods"] = lambda: self.api.items(POD)
        elif wanted.ports:
            questions["services"] = lambda: self.api.items(SERVICE)
        for name in wanted.namespaces:
            questions[f"rules {name}"] = lambda name=name: _review(self.api, RULES, namespace=name)  # type: ignore[misc]
            questions[f"namespace {name}"] = lambda name=name: self.api.find(NAMESPACE.path(None, name))  # type: ignore[misc]
        for right in clusterwide:
            questions[f"right {right}"] = lambda right=right: self._may(right)  # type: ignore[misc]
        answers = dict(zip(questions, self.api.each(self._ask, questions.values()), strict=True))

        self._version()
        self._rights(rights, answers)
        for name in wanted.namespaces:
            self._namespace(name, answers[f"namespace {name}"])
        if wanted.volumes:
            self._storage(answers["classes"])
        self._nodes(answers["nodes"])
        self._ports(answers.get("pods"), answers.get("services"))

    def problem(self, text: str) -> None:
        self.seen.problems.append(text)

    def warning(self, text: str) -> None:
        self.seen.warnings.append(text)

    @staticmethod
    def _ask(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except ApiError as error:
            return error

    def _may(self, right: Right) -> bool:
        return bool(_review(self.api, ACCESS, resourceAttributes=attributes(right)).get("allowed"))

    def _version(self) -> None:
        found = re.match(r"v?(\d+)\.(\d+)", self.seen.version)
        if found is None:
            return
        version = (int(found[1]), int(found[2]))
        if version < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            self.problem(
                f"the cluster runs Kubernetes {self.seen.version}, and {oldest} or newer is needed: upgrade it"
            )
        elif version > TRIED:
            tried = ".".join(map(str, TRIED))
            self.seen.warnings.append(
                f"the cluster runs Kubernetes {self.seen.version}; this release was tried on {tried}"
            )

    def _rights(self, rights: Sequence[Right], answers: Mapping[str, Any]) -> None:
        missing: list[Right] = []
        unsure: list[Right] = []
        for right in rights:
            if not right.namespace:
                if answers[f"right {right}"] is not True:
                    missing.append(right)
                continue
            review = answers[f"rules {right.namespace}"]
            rules: dict[str, Any] = review if isinstance(review, dict) else {"incomplete": True}
            if not granted(right, rules.get("resourceRules") or ()):
                (unsure if rules.get("incomplete") else missing).append(right)
        for right, allowed in zip(unsure, self.api.each(self._ask, [self._question(r) for r in unsure]), strict=True):
            if allowed is not True:
                missing.append(right)
        if not missing:
            return
        who = self.seen.user or "the kubeconfig's user"
        listed = " | ".join(in_words(missing))
        hint = "docs/operations.md (Rights on the cluster) has the roles that grant them"
        if any(right.resource == "namespaces" and right.verb != "get" for right in missing):
            hint += "; with mlops_manage_namespaces: false the namespaces are the administrator's to make"
        self.problem(f"{who} lacks rights on the cluster: {listed}. {hint}")

    def _question(self, right: Right) -> Callable[[], bool]:
        return lambda: self._may(right)

    def _namespace(self, name: str, found: Any) -> None:
        manages = self.wanted.manages_namespaces
        if isinstance(found, ApiError):
            return  # told among the rights
        if found is None:
            if not manages:
                self.problem(
                    f"mlops_manage_namespaces: there is no namespace {name}: have it made, or let it be made (true)"
                )
            return
        labels = found["metadata"].get("labels") or {}
        if found["metadata"].get("deletionTimestamp"):
            self.problem(f"the namespace {name} is just being removed: wait until it is gone")
        elif manages and labels.get(OURS) != self.wanted.namespace:
            whose = f" (it is managed by {labels[MANAGED_BY]})" if labels.get(MANAGED_BY, MANAGER) != MANAGER else ""
            self.problem(
                f"mlops_name: there is a namespace {name} already that isn't this platform's{whose}: "
                "take another name, or use it as it is with mlops_manage_namespaces: false"
            )
        elif labels.get(OURS) == self.wanted.namespace:
            self.seen.ours.append(name)
        if not manages and name != self.wanted.namespace and labels.get(_ENFORCED) in ("baseline", "restricted"):
            self.problem(
                f"mlops_entry: the namespace {name} enforces Pod Security {labels[_ENFORCED]}, which allows no host "
                f"port: have {_ENFORCED}=privileged set there, or set mlops_entry to node_port or load_balancer"
            )

    def _storage(self, found: Any) -> None:
        name = str(self.wanted.options.get("storage_class") or "")
        if isinstance(found, ApiError):
            what = f"whether there is a storage class {name}" if name else "whether there is a default storage class"
            self.seen.warnings.append(
                f"{what} can't be told: {self.seen.user} may not list storageclasses.storage.k8s.io"
            )
            return
        names = sorted(item["metadata"]["name"] for item in found)
        known = ", ".join(names) or "none: install a provisioner first"
        if name and name not in names:
            self.problem(f"mlops_storage_class: there is no storage class {name} (known: {known})")
        elif not name and not any(_is_default(item) for item in found):
            self.problem(f"mlops_storage_class: the cluster has no default storage class: set one (known: {known})")

    def _nodes(self, found: Any) -> None:
        if isinstance(found, ApiError):
            return  # a tenant of a cluster needn't see its nodes
        self.seen.nodes = sorted((nodes.read(item) for item in found), key=lambda node: node.name)
        problems, warnings = nodes.problems(self.seen.nodes, platform.machine())
        self.seen.problems += problems
        self.seen.warnings += warnings

    def _ports(self, pods: Any, services: Any) -> None:
        wanted = self.wanted
        if isinstance(pods, list) and self.seen.nodes:
            takers = [node.name for node in self.seen.nodes if node.takes_pods]
            problems, warnings = entry.host_ports(wanted.ports, pods, takers, wanted.namespace)
            self.seen.problems += problems
            self.seen.warnings += warnings
        if isinstance(services, list) and wanted.entry == "node_port":
            self.seen.problems += entry.node_ports(wanted.ports, services, wanted.namespace)


def _is_default(item: Mapping[str, Any]) -> bool:
    annotations = item["metadata"].get("annotations") or {}
    return any(annotations.get(name) == "true" for name in _DEFAULT_CLASS)
