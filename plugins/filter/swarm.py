# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what each host's engine says to how the hosts become one Swarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def _membership(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The latest word on a host's membership: from joining, or from looking at its engine."""
    for name in ("__swarm_cluster_joined", "__swarm_cluster_started", "__host_engine"):
        result = facts.get(name) or {}
        if "swarm" in result:
            return dict(result["swarm"])
    return {"state": "inactive", "node_id": "", "address": "", "manager": False, "managers": []}


def swarm_plan(hosts: Sequence[str], hostvars: Mapping[str, Any], managers: Sequence[str]) -> dict[str, Any]:
    """How these hosts become one Swarm.

    :param hosts: the hosts of the play that can be reached.
    :param hostvars: their variables, with what C(docker_engine) registered.
    :param managers: the hosts that are to be managers, in or out of the play.
    :returns: ``lead`` (the manager that speaks for the Swarm), ``start`` (whether it starts it), ``joining``,
        ``addresses`` of managers to join, ``nodes`` as the module C(swarm_node) takes them, and ``problem`` where
        none of this can be.
    """
    found = {host: _membership(hostvars[host]) for host in hosts}
    active = [host for host in hosts if found[host]["state"] == "active" and found[host]["manager"]]
    leads = [host for host in managers if host in active] or active
    joining = [host for host in hosts if found[host]["state"] == "inactive"]
    clusters = sorted({found[host].get("cluster_id", "") for host in active} - {""})
    absent = [host for host in managers if host not in hosts]
    problem, lead, start = "", leads[0] if leads else "", False
    if len(clusters) > 1:
        members = {
            cluster: ", ".join(host for host in active if found[host].get("cluster_id") == cluster)
            for cluster in clusters
        }
        parts = "; ".join(members.values())
        problem = (
            f"the hosts are managers of {len(clusters)} Swarms ({parts}): let the hosts of all but one leave theirs "
            "(docker swarm leave --force)"
        )
    elif not leads and joining:
        if any(found[host]["state"] == "active" for host in hosts):
            workers = ", ".join(host for host in hosts if found[host]["state"] == "active")
            problem = f"{workers}: a worker of a Swarm none of whose managers is among the hosts that can be reached"
        elif absent:
            problem = (
                f"no manager of a Swarm can be reached, and {', '.join(absent)} is out of reach or out of this run: "
                "a second Swarm would be started. Run it for all managers (without --limit)"
            )
        else:
            lead = next((host for host in managers if host in joining), "")
            start = bool(lead)
            joining = [host for host in joining if host != lead]
    if problem:
        lead, joining = "", []
    nodes = [
        {
            "id": found[host]["node_id"],
            "host": host,
            "role": "manager" if host in managers else "worker",
            "labels": dict(hostvars[host].get("swarm_cluster_node_labels") or {}),
            "availability": hostvars[host].get("swarm_cluster_availability") or None,
        }
        for host in hosts
    ]
    own = found[lead]["managers"] if lead else []
    return {
        "lead": lead,
        "start": start,
        "joining": joining,
        "addresses": list(own),
        "nodes": [{key: value for key, value in node.items() if value is not None} for node in nodes],
        "problem": problem,
    }


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Any]:
        return {"swarm_plan": swarm_plan}
