# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A set as Kubernetes manifests: what server-side apply sends, without the Secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..manifest import Content, Declared, Manifests, SecretObject, merged, refuse
from ..rendering import NO_SALT, unknown_peers
from .render import KubernetesFacts as Facts
from .render import collisions, namespaces, render, site_for
from .site import PULL_SECRET, KubernetesSite, publishes

__all__ = ["Facts", "assumed", "listing", "manifests", "shared", "told"]

NAMESPACES = "namespaces.yaml"
KUSTOMIZATION = "kustomization.yaml"


def assumed(declared: Declared, known: Mapping[str, Any]) -> tuple[Facts, list[str]]:
    """Facts where no cluster is asked, and what is made up in them. ``known``: what the user says of the cluster."""
    notes = []
    if not known.get("salt"):
        notes.append("The names of Secrets are not those that the module makes: it hashes with the namespace's uid")
    endpoints = [_endpoint(text) for text in known.get("api_endpoints") or ()]
    salt = known.get("salt") or f"{declared.namespace}@{declared.domain}"
    return Facts(salt=salt, api_endpoints=tuple(endpoints)), notes


def told(declared: Declared, known: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[Facts, list[str]]:
    """Facts as the cluster told them. Where the namespace isn't there yet, its uid is made up."""
    facts = Facts.from_dict(data)
    if facts.salt != NO_SALT:
        return facts, []
    instead, notes = assumed(declared, known)
    return replace(facts, salt=instead.salt), notes


def manifests(declared: Declared, facts: Facts, neighbours: Iterable[Mapping[str, Any]]) -> Manifests:
    """The files of one set, a workload with its jobs in each. Raises WorkloadError with all that can't be rendered."""
    site = _site(declared, facts, neighbours)
    problems: list[str] = []
    rendered = [render(workload, site, problems) for workload in declared.workloads]
    refuse(problems + unknown_peers(declared.workloads, site.zone_of) + collisions(rendered))
    found = Manifests()
    for service in rendered:
        documents: list[dict[str, Any]] = []
        for item in (*service.jobs, service):
            for thing in item.manifests:
                if thing["kind"] == "Secret":
                    found.secrets.append(_secret(thing, item.workload.name))
                    found.values.append(thing)
                else:
                    documents.append(thing)
            found.note(*item.notes)
        found.files[f"{service.workload.name}.yaml"] = documents
    found.secrets = merged(found.secrets)
    if found.values:
        pull = namespaces(site, declared.registry_auth, bool(site.published))
        found.values = [*(thing for thing in pull if thing["kind"] == "Secret"), *found.values]
    found.neighbour = {
        "zone_of": {workload.name: workload.zone for workload in declared.workloads},
        "published": sorted(workload.name for workload in declared.workloads if publishes(workload)),
    }
    return found


def shared(
    declared: Declared, facts: Facts, neighbours: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Content], list[SecretObject]]:
    """The files that all sets share: the namespaces, shut by default."""
    site = _site(declared, facts, neighbours)
    documents = []
    secrets = []
    for thing in namespaces(site, declared.registry_auth, bool(site.published)):
        if thing["kind"] == "Secret":
            secrets.append(_pull_secret(thing, declared.registry_auth))
        elif thing["kind"] != "Namespace" or declared.kubernetes.get("manage_namespaces", True):
            documents.append(thing)
    return {NAMESPACES: documents}, secrets


def listing(files: Iterable[str]) -> dict[str, Content]:
    """What kubectl apply -k, and the tools that apply from a repository, go by."""
    resources = sorted(files, key=lambda name: (name != NAMESPACES, name))
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
    }
    return {KUSTOMIZATION: [kustomization]}


def _site(declared: Declared, facts: Facts, neighbours: Iterable[Mapping[str, Any]]) -> KubernetesSite:
    zone_of = {**facts.zone_of}
    published = {*facts.published}
    for neighbour in neighbours:
        zone_of.update(neighbour["zone_of"])
        published -= {*neighbour["zone_of"]}
        published |= {*neighbour["published"]}
    return site_for(
        declared.namespace,
        declared.set_name,
        declared.workloads,
        domain=declared.domain,
        images=declared.images,
        secret_values=declared.secret_values,
        registry_auth=declared.registry_auth,
        kubernetes=declared.kubernetes,
        facts=Facts(facts.salt, zone_of, frozenset(published), facts.api_endpoints),
    )


def _secret(thing: Mapping[str, Any], used_by: str) -> SecretObject:
    """A key is the secret's name."""
    meta = thing["metadata"]
    keys = {key: key for key in sorted(thing["data"])}
    return SecretObject(meta["name"], keys, (used_by,), meta["namespace"], thing["type"], meta["labels"])


def _pull_secret(thing: Mapping[str, Any], auth: Mapping[str, str]) -> SecretObject:
    meta = thing["metadata"]
    at = f" at {auth['server']}" if auth.get("server") else ""
    keys = dict.fromkeys(thing["data"], f"registry_password, as Docker's login of {auth['username']}{at}")
    return SecretObject(PULL_SECRET, keys, ("every image",), meta["namespace"], thing["type"], meta["labels"])


def _endpoint(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    if not host or not port.isdigit():
        refuse([f"cluster.api_endpoints: {text!r} is not an address with a port"])
    return host.strip("[]"), int(port)
