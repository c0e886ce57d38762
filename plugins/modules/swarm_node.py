#!/usr/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_node
short_description: A host's membership of a Docker Swarm, and the nodes' roles and labels
version_added: 0.1.0
description:
  - Makes the host's engine a node of a Swarm; the first by starting the Swarm, each other one by joining it.
  - On a manager converges roles, labels and availability of the nodes given in O(nodes), in one call for all of them.
  - A node that is a member already stays one as it is.
  - Needs nothing but Python on the host.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: full
options:
  state:
    description: V(absent) lets the host leave its Swarm.
    type: str
    choices: [present, absent]
    default: present
  join:
    description: The Swarm to join; without it, a host that is in none starts one.
    type: dict
    suboptions:
      token:
        description: The token of managers or of workers. May be empty in check mode.
        type: str
        default: ""
      addresses:
        description: Addresses of managers, with or without a port.
        type: list
        elements: str
        default: []
  advertise_address:
    description:
      - The address (or network interface) at which the other nodes reach this one.
      - Without it, the address that this host has towards O(peers).
    type: str
    default: ""
  data_path_address:
    description: The address (or network interface) for the traffic of overlay networks, where it differs.
    type: str
    default: ""
  peers:
    description: Names or addresses of the other nodes. Without any, a Swarm that is started listens on this host alone.
    type: list
    elements: str
    default: []
  address_pools:
    description:
      - Subnets that overlay networks are taken from, when a Swarm is started. Without any, Docker takes 10.0.0.0/8.
    type: list
    elements: str
    default: []
  subnet_size:
    description: Size of each overlay network within O(address_pools), when a Swarm is started.
    type: int
    default: 24
  heartbeat:
    description:
      - Seconds between a node's signs of life. One that is silent for about three of them is given up, and what it ran
        starts elsewhere. Left as it is where this isn't set; Docker starts with 5.
    type: float
  nodes:
    description: Nodes to converge. The host has to be a manager.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The node's id. Empty in check mode for a node that would join.
        type: str
        default: ""
      host:
        description: The host's name in the inventory; it becomes the label C(mlops.host).
        type: str
        required: true
      role:
        description: What the node is.
        type: str
        choices: [manager, worker]
        required: true
      labels:
        description: Labels to set. Those that were set here once and aren't named any more go; those of others stay.
        type: dict
        default: {}
      availability:
        description: Whether the node takes work. Left as it is where this isn't set.
        type: str
        choices: [active, pause, drain]
  remove_nodes:
    description: Ids of nodes that have left and are to be forgotten.
    type: list
    elements: str
    default: []
  tokens:
    description: Return the tokens to join with. Use C(no_log) then.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the nodes to be ready.
    type: float
    default: 90
  socket:
    description: The engine's socket.
    type: path
    default: /var/run/docker.sock
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Start a Swarm of this host alone
  mlops.onprem.swarm_node:
"""

RETURN = r"""
swarm:
  description: The host's membership, as M(mlops.onprem.docker_engine) returns it.
  type: dict
  returned: success
nodes:
  description: All nodes of the Swarm.
  type: list
  elements: dict
  returned: on managers
  contains:
    id:
      description: The node's id.
      type: str
    host:
      description: Its name in the inventory, where it has one.
      type: str
    hostname:
      description: Its host name.
      type: str
    address:
      description: Its address.
      type: str
    role:
      description: Manager or worker.
      type: str
    labels:
      description: Its labels.
      type: dict
    availability:
      description: One of active, pause, drain.
      type: str
    state:
      description: C(ready) where all is well.
      type: str
    message:
      description: Why it isn't.
      type: str
    leader:
      description: Whether it leads the managers.
      type: bool
    reachability:
      description: Of a manager, C(reachable) where all is well.
      type: str
problems:
  description: Nodes that are down, managers that can't be reached, hosts of O(nodes) that are missing.
  type: list
  elements: str
  returned: on managers
join_tokens:
  description: The tokens of managers and workers.
  type: dict
  returned: where O(tokens) asks for them
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._docker import nodes as swarm_nodes
from ansible_collections.mlops.onprem.plugins.module_utils._docker.api import NO_SWARM, Engine, Swarm
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError, RequestError

PORT = 2377
SECOND = 10**9  # in the engine's unit


class Membership:
    """Brings one host into a Swarm, or out of it."""

    def __init__(self, parameters: dict[str, Any], check: bool) -> None:
        self.parameters = parameters
        self.check = check
        self.engine = Engine(parameters["socket"])
        # On a blank host there is no engine to ask yet, and all would be new.
        self.swarm = NO_SWARM if check and not self.engine.answers() else self.engine.swarm()
        self.changed = False
        self.before: dict[str, Any] = {"swarm": self.swarm.state}
        self.after: dict[str, Any] = {"swarm": self.swarm.state}

    def enter(self) -> None:
        if self.swarm.state == "active":
            return
        if self.swarm.state == "locked":
            raise InputError("this host's Swarm is locked: run `docker swarm unlock` on it")
        if self.swarm.state in ("pending", "error"):
            # Joining goes on in the background; a daemon that has just been started catches up with the others.
            if not self.check:
                self._await_active(self.swarm.error)
            return
        self.changed = True
        self.after["swarm"] = "active"
        if self.check:
            return
        join = self.parameters["join"]
        if join:
            self._join(join)
        else:
            self._start()

    def leave(self) -> None:
        if self.swarm.state == "inactive":
            return
        self.changed = True
        self.after["swarm"] = "inactive"
        if not self.check:
            self.engine.call("POST", "/swarm/leave", force="true")
            self.swarm = self.engine.swarm()

    def _start(self) -> None:
        parameters = self.parameters
        address = parameters["advertise_address"] or swarm_nodes.address_towards(parameters["peers"])
        if parameters["peers"] and not address:
            raise InputError("swarm_cluster_advertise_address: set the address at which the other hosts reach this one")
        listen = f"0.0.0.0:{PORT}" if address else f"127.0.0.1:{PORT}"
        body: dict[str, Any] = {"ListenAddr": listen, "AdvertiseAddr": address or "127.0.0.1", "Spec": {}}
        if parameters["data_path_address"]:
            body["DataPathAddr"] = parameters["data_path_address"]
        if parameters["address_pools"]:
            body |= {"DefaultAddrPool": parameters["address_pools"], "SubnetSize": parameters["subnet_size"]}
        self.engine.call("POST", "/swarm/init", body=body)
        self._await_active("")

    def _join(self, join: dict[str, Any]) -> None:
        remotes = [_with_port(address) for address in join["addresses"]]
        if not remotes or not join["token"]:
            raise InputError("join: needs a token and the address of a manager")
        if all(remote.startswith(("127.", "[::1]", "localhost:")) for remote in remotes):
            raise InputError(
                "the Swarm that this host is to join was made for one host alone: its manager advertises a loopback "
                "address. Take the platform down with playbooks/uninstall.yml -e swarm_cluster_remove=true, and "
                "install it anew on all hosts"
            )
        hosts = [remote.rpartition(":")[0].strip("[]") for remote in remotes]
        body: dict[str, Any] = {
            "ListenAddr": f"0.0.0.0:{PORT}",
            "AdvertiseAddr": self.parameters["advertise_address"] or swarm_nodes.address_towards(hosts),
            "RemoteAddrs": remotes,
            "JoinToken": join["token"],
        }
        if self.parameters["data_path_address"]:
            body["DataPathAddr"] = self.parameters["data_path_address"]
        try:
            self.engine.call("POST", "/swarm/join", body=body)
        except RequestError as error:
            # Past its own time limit the engine goes on joining in the background.
            if "will continue in the background" not in error.message:
                raise InputError(
                    f"can't join the Swarm at {', '.join(remotes)}: {error.message}. "
                    f"Managers must be reachable at TCP {PORT}, and all nodes at TCP and UDP 7946 and UDP 4789"
                ) from error
        self._await_active("")

    def _await_active(self, reason: str) -> None:
        def active() -> bool:
            self.swarm = self.engine.swarm()
            return self.swarm.state == "active"

        if not wait(active, self.parameters["timeout"]):
            raise InputError(
                f"this host isn't an active node of its Swarm after {self.parameters['timeout']:g} s: it is "
                f"{self.swarm.state}{', ' + (self.swarm.error or reason) if self.swarm.error or reason else ''}. "
                "Are TCP 2377, TCP and UDP 7946 and UDP 4789 open between the hosts?"
            )


class Nodes:
    """Converges the nodes of a Swarm, from one of its managers."""

    def __init__(self, engine: Engine, parameters: dict[str, Any], check: bool) -> None:
        self.engine = engine
        self.check = check
        self.timeout = parameters["timeout"]
        self.wanted = [
            swarm_nodes.WantedNode(
                node["id"],
                node["host"],
                node["role"],
                {str(key): str(value) for key, value in node["labels"].items()},
                node["availability"],
            )
            for node in parameters["nodes"]
        ]
        self.gone: list[str] = parameters["remove_nodes"]
        self.heartbeat: float | None = parameters["heartbeat"]

    def read(self) -> list[dict[str, Any]]:
        return list(self.engine.call("GET", "/nodes"))

    def converge(self) -> bool:
        if not self.check:
            self._await_members()
        live = {node["ID"]: node for node in self.read()}
        changed = False
        for wanted in self.wanted:
            if wanted.id not in live:
                if self.check:
                    changed = True
                    continue
                raise InputError(
                    f"{wanted.host} is a node of another Swarm: let it leave that one (docker swarm leave --force)"
                )
            changed |= self._converge_node(wanted, live[wanted.id])
        for node_id in self.gone:
            if node_id in live:
                changed = True
                if not self.check:
                    self._forget(node_id)
        return changed

    def converge_heartbeat(self) -> tuple[float, float]:
        """Seconds before and after."""
        swarm = self.engine.call("GET", "/swarm")
        dispatcher = swarm["Spec"].get("Dispatcher") or {}
        before = float(dispatcher.get("HeartbeatPeriod") or 0) / SECOND
        if self.heartbeat is None or before == self.heartbeat:
            return before, before
        if not self.check:
            spec = {**swarm["Spec"], "Dispatcher": {**dispatcher, "HeartbeatPeriod": round(self.heartbeat * SECOND)}}
            self.engine.call("POST", "/swarm/update", body=spec, version=str(swarm["Version"]["Index"]))
        return before, self.heartbeat

    def _converge_node(self, wanted: swarm_nodes.WantedNode, live: dict[str, Any]) -> bool:
        spec = swarm_nodes.changed_spec(wanted, live)
        if spec is None:
            return False
        if not self.check:
            for _attempt in range(5):
                try:
                    self.engine.call(
                        "POST", f"/nodes/{wanted.id}/update", body=spec, version=str(live["Version"]["Index"])
                    )
                    break
                except RequestError as error:
                    if "out of sequence" not in error.message:
                        raise
                # Somebody was quicker; look again.
                live = self.engine.call("GET", f"/nodes/{wanted.id}")
                spec = swarm_nodes.changed_spec(wanted, live) or live["Spec"]
        return True

    def _await_members(self) -> None:
        """A node that has just joined is listed and ready a moment later."""
        ids = {wanted.id for wanted in self.wanted}

        def ready() -> bool:
            states = {node["ID"]: node["Status"]["State"] for node in self.read()}
            return all(states.get(node_id, "unknown") != "unknown" for node_id in ids)

        wait(ready, min(self.timeout, 15.0))

    def _forget(self, node_id: str) -> None:
        def down() -> bool:
            return all(node["ID"] != node_id or node["Status"]["State"] == "down" for node in self.read())

        wait(down, 30)
        with contextlib.suppress(RequestError):
            node = self.engine.call("GET", f"/nodes/{node_id}")
            if node["Spec"]["Role"] == "manager":
                spec = {**node["Spec"], "Role": "worker"}
                self.engine.call("POST", f"/nodes/{node_id}/update", body=spec, version=str(node["Version"]["Index"]))
        self.engine.call("DELETE", f"/nodes/{node_id}", force="true")


def _with_port(address: str) -> str:
    if address.startswith("["):
        return address if "]:" in address else f"{address}:{PORT}"
    if address.count(":") > 1:
        return f"[{address}]:{PORT}"
    return address if ":" in address else f"{address}:{PORT}"


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        # An engine that elects a leader says so with an error.
        with contextlib.suppress(RequestError):
            if condition():
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)


def converge(module: AnsibleModule) -> dict[str, Any]:
    parameters = module.params
    membership = Membership(parameters, module.check_mode)
    if parameters["state"] == "absent":
        membership.leave()
        return _result(membership, membership.swarm)
    membership.enter()
    swarm = membership.swarm
    if not swarm.manager:
        if parameters["nodes"] and not module.check_mode:
            raise InputError("nodes: this host is no manager, so it can't set up the Swarm's nodes")
        result = _result(membership, swarm)
        result["diff"]["after"]["nodes"] = {
            node["host"]: {"role": node["role"], "labels": node["labels"]} for node in parameters["nodes"]
        }
        return result
    nodes = Nodes(membership.engine, parameters, module.check_mode)
    for wanted in nodes.wanted:
        # The node that has just been made by this very call is known by its id only now.
        if not wanted.id and len(nodes.wanted) == 1:
            nodes.wanted = [
                swarm_nodes.WantedNode(swarm.node_id, wanted.host, wanted.role, wanted.labels, wanted.availability)
            ]
    before = [] if membership.changed else [swarm_nodes.summary(node) for node in nodes.read()]
    membership.changed |= nodes.converge()
    if nodes.heartbeat is not None:
        period, wanted_period = nodes.converge_heartbeat()
        membership.changed |= period != wanted_period
        membership.before["heartbeat"], membership.after["heartbeat"] = period, wanted_period
    after = [swarm_nodes.summary(node) for node in nodes.read()]
    if module.check_mode:
        after = _predicted(before, nodes)
    membership.before["nodes"] = swarm_nodes.shown(before)
    membership.after["nodes"] = swarm_nodes.shown(after)
    result = _result(membership, swarm)
    result["nodes"] = after
    result["problems"] = swarm_nodes.problems(after, [wanted.host for wanted in nodes.wanted])
    if parameters["tokens"]:
        tokens = membership.engine.call("GET", "/swarm")["JoinTokens"]
        result["join_tokens"] = {"manager": tokens["Manager"], "worker": tokens["Worker"]}
    return result


def _predicted(before: list[dict[str, Any]], nodes: Nodes) -> list[dict[str, Any]]:
    wanted = {node.id: node for node in nodes.wanted}
    after = []
    for node in before:
        if node["id"] in nodes.gone:
            continue
        if node["id"] in wanted:
            will = wanted[node["id"]]
            labels = swarm_nodes.wanted_labels(will, node["labels"])
            availability = will.availability or node["availability"]
            node = {**node, "host": will.host, "role": will.role, "labels": labels, "availability": availability}
        after.append(node)
    return after


def _result(membership: Membership, swarm: Swarm) -> dict[str, Any]:
    return {
        "changed": membership.changed,
        "diff": {"before": membership.before, "after": membership.after},
        "swarm": swarm.facts(),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "join": {
                "type": "dict",
                "options": {
                    "token": {"default": "", "no_log": True},
                    "addresses": {"type": "list", "elements": "str", "default": []},
                },
            },
            "advertise_address": {"default": ""},
            "data_path_address": {"default": ""},
            "peers": {"type": "list", "elements": "str", "default": []},
            "address_pools": {"type": "list", "elements": "str", "default": []},
            "subnet_size": {"type": "int", "default": 24},
            "heartbeat": {"type": "float"},
            "nodes": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "id": {"default": ""},
                    "host": {"required": True},
                    "role": {"choices": ["manager", "worker"], "required": True},
                    "labels": {"type": "dict", "default": {}},
                    "availability": {"choices": ["active", "pause", "drain"]},
                },
            },
            "remove_nodes": {"type": "list", "elements": "str", "default": []},
            "tokens": {"type": "bool", "default": False, "no_log": False},
            "timeout": {"type": "float", "default": 90},
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    try:
        result = converge(module)
    except (InputError, RequestError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
