# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A set as service specs, in the words of the engine's API. Networks, configs and secrets go by name in them: the ids
that the engine wants are known once it has made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..manifest import Content, Declared, Manifests, SecretObject, merged, refuse
from ..rendering import encode, unknown_peers
from .render import NAMESPACE, SET, Facts, Rendered, network, render, site_for


def assumed(declared: Declared, known: Mapping[str, Any]) -> tuple[Facts, list[str]]:
    """Facts where no cluster is asked, and what is made up in them. ``known``: what the user says of the cluster."""
    traits = {key: value for key, value in known.items() if key not in ("salt", "api_endpoints") and value is not None}
    if "api" in traits:
        traits["api"] = _version(str(traits["api"]))
    notes = []
    if not known.get("salt"):
        notes.append("The names of secrets are not those that the module makes: it hashes with the cluster's id")
    guessed = [key for key in ("api", "nodes", "log_driver", "no_new_privileges") if key not in traits]
    if guessed:
        notes.append(f"Taken to be Docker Engine 20.10 on one node, as nothing is known of: {', '.join(guessed)}")
    if any(workload.cluster_access for workload in declared.workloads) and "socket_group" not in traits:
        notes.append("The group of the engine's socket isn't known: 0 stands in its place")
        traits["socket_group"] = 0
    salt = known.get("salt") or f"{declared.namespace}@{declared.domain}"
    return Facts.from_dict({"salt": salt, "traits": traits}), notes


def told(_declared: Declared, _known: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[Facts, list[str]]:
    """Facts as the cluster told them."""
    return Facts.from_dict(data), []


def manifests(declared: Declared, facts: Facts, neighbours: Iterable[Mapping[str, Any]]) -> Manifests:
    """The files of one set. Raises WorkloadError with all that can't be rendered."""
    zone_of = {**facts.zone_of}
    for neighbour in neighbours:
        zone_of.update(neighbour["zone_of"])
    site = site_for(
        declared.namespace,
        declared.set_name,
        declared.workloads,
        domain=declared.domain,
        images=declared.images,
        secret_values=declared.secret_values,
        registry_auth=declared.registry_auth,
        facts=Facts(facts.salt, zone_of, facts.traits),
    )
    problems: list[str] = []
    rendered = [render(workload, site, problems) for workload in declared.workloads]
    refuse(problems + unknown_peers(declared.workloads, site.zone_of))
    found = Manifests()
    configs: dict[str, dict[str, Any]] = {}
    values: dict[str, dict[str, Any]] = {}
    for item in (one for service in rendered for one in (*service.jobs, service)):
        found.files[f"{item.workload.name}.yaml"] = [item.spec]
        for name, content in item.configs.items():
            found.files[f"configs/{name}"] = content.decode()
            configs[name] = {"Name": name, "Labels": site.labels(item.workload.name), "File": f"configs/{name}"}
        secrets = _secrets(item)
        found.secrets += secrets
        for one in secrets:
            values[one.name] = {"Name": one.name, "Labels": one.labels, "Data": encode(item.secrets[one.name])}
        found.note(*item.notes)
        if item.pin:
            found.note(f"{item.workload.name}: its data stay on the node that has the label {item.pin}=true")
    if configs:
        found.files["configs.yaml"] = [configs[name] for name in sorted(configs)]
    found.secrets = merged(found.secrets)
    found.values = [values[name] for name in sorted(values)]
    found.neighbour = {
        "zone_of": {workload.name: workload.zone for workload in declared.workloads},
        "zones": sorted({zone for service in rendered for item in (*service.jobs, service) for zone in item.zones}),
    }
    return found


def shared(
    declared: Declared, _facts: Facts, neighbours: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Content], list[SecretObject]]:
    """The files that all sets share: the networks that any of them joins."""
    zones = sorted({zone for neighbour in neighbours for zone in neighbour["zones"]})
    return ({"networks.yaml": [network(declared.namespace, zone) for zone in zones]} if zones else {}), []


def listing(_files: Iterable[str]) -> dict[str, Content]:
    """No tool reads a list of them."""
    return {}


def _secrets(item: Rendered) -> list[SecretObject]:
    names = {secret.path: secret.name for secret in item.workload.secrets}
    labels = {key: item.spec["Labels"][key] for key in (NAMESPACE, SET)}
    return [
        SecretObject(file["SecretName"], {"data": names[file["File"]["Name"]]}, (item.workload.name,), labels=labels)
        for file in item.spec["TaskTemplate"]["ContainerSpec"]["Secrets"]
    ]


def _version(text: str) -> list[int]:
    parts = text.split(".")
    if not all(part.isdigit() for part in parts):
        refuse([f"cluster.api: {text!r} is not a version such as 1.41"])
    return [int(part) for part in parts]
