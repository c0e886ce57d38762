#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: workload
short_description: Run a set of workloads, and wait until each is healthy
version_added: 0.1.0
description:
  - Takes a set of workloads and makes the cluster equal it, in the order that their C(connects) and C(jobs) ask for,
    as many at a time as that order allows. What the set no longer declares is removed, inside the set only.
  - The live objects are compared, so what somebody has changed by hand is seen and put right.
  - A rollout that fails brings the old version back, and the module fails with the reason and the last log lines.
    Whenever it is interrupted, running it again goes on from there.
  - Config and secret files are objects named by the hash of their content. A change replaces the containers; old
    objects are collected once all are healthy.
  - On Kubernetes everything is tried by the server's own dry run before anything is written, and what that can't see
    (quotas, Pod Security, storage classes, ports of the hosts) is looked at. All that is refused is told at once. What
    is applied is applied by the field manager C(mlops.onprem); a field that another manager has changed is an error
    that names both, unless O(kubernetes.force_conflicts).
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.workload
  - mlops.onprem.workload.declared
  - mlops.onprem.workload.attributes
attributes:
  check_mode:
    description: Can run in check mode and tell what it would change, without changing anything.
    support: full
    details:
      - Where there is no engine or no cluster yet, everything is reported as to be created.
      - On Kubernetes what is told is what the server would store.
  diff_mode:
    description: Returns what changed, or would change, in diff mode.
    support: full
    details:
      - Secrets show as names with a hash, never as values.
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
options:
  set:
    description: The set, with one owner, that the workloads belong to, such as V(platform) or V(models).
    type: str
    required: true
  state:
    description: Whether the set is to be there.
    type: str
    choices: [present, absent]
    default: present
  workloads:
    description:
      - The workloads. Needed for O(state=present); an empty list empties the set.
      - 'C(name): a DNS label of at most 40 characters, by which others reach it. C(kind): C(service) or C(job).'
      - 'C(image): a name in O(images). C(command), C(args): the entry point and its arguments. C(env): variables, as
        strings.'
      - 'C(configs): files, each with C(path), C(content), C(mode). C(secrets): files, each with C(name) (of
        O(secret_values)), C(path), C(mode). Both belong to C(user).'
      - 'C(ports): each with C(name), C(port), C(protocol) and, for a port of the host, C(published).'
      - 'C(routes): at the gateway, each with C(name), C(port) (a port''s name), C(host), C(path), C(headers),
        C(scheme) (C(http) or C(h2c)), C(strip_path), C(priority), C(subdomain).'
      - 'C(volumes): each with C(name), C(path), C(size), C(scope). With scope C(workload) they are the data of one
        replica. On a Swarm they stay on the node where they were first placed, and the workload with them, and the
        size is a note to people: the local volume driver has no quota. On Kubernetes they are a claim of that size
        (10Gi where none is given), which outlives the workload. Scope C(node) is a cache that may be empty at the next
        start: on a Swarm the replicas on a node share it, on Kubernetes each has its own, bounded by the size.'
      - 'C(scratch): directories in memory, each with C(path), C(size).'
      - 'C(probes): C(startup), C(liveness), C(readiness), each with C(http) (C(port), C(path), C(headers)), C(tcp)
        (C(port)) or C(command), and C(interval), C(timeout), C(retries), C(start_period) in seconds. C(startup) may
        name no check of its own and takes that of C(liveness). The module waits for readiness, which is that of
        C(liveness) where none is declared, and the gateway looks at it. On a Swarm liveness is the health check and
        startup its start period. On Kubernetes times are rounded up to whole seconds.'
      - 'C(replicas). C(resources): C(requests) and C(limits) of C(cpu) (cores), C(memory), C(gpu); C(generic): names
        and numbers of what nodes offer beside, generic resources of a Swarm, extended ones of Kubernetes. On Kubernetes
        a container that has a limit and no request asks for 0.05 cores and 32Mi at most. C(placement): C(labels) of
        nodes, C(spread=node), C(manager) (on a Swarm), C(tolerations) (on Kubernetes), each the C(key) of a taint, and
        C(value) and C(effect) where not all of that key are meant.'
      - 'C(user): numeric, never root. C(read_only). C(capabilities): on Kubernetes C(NET_BIND_SERVICE) alone.
        C(stop_grace) in seconds. C(labels).'
      - 'C(zone): C(edge), C(data), C(stream), C(metrics) or C(models), where others reach it. C(connects): names of
        workloads that it talks to, of this or another set; it starts after them. On a Swarm it joins their zones; on
        Kubernetes a network policy opens the way to them and no other.'
      - 'C(egress): what it reaches outside the cluster, each with C(host) (a name or an address) and C(port) (TCP). On
        a Swarm it joins the zone C(edge), the one with a way out. On Kubernetes a network policy opens the way to the
        address, or for a name to that port of any host.'
      - 'C(metrics): C(port), C(path): where who lives in the zone C(metrics) may ask it. For that, such a scraper joins
        all zones on a Swarm; on Kubernetes a network policy opens that port to it.'
      - 'C(jobs): workloads that run to completion before this one starts or is
        updated, and again whenever they change.'
      - 'C(update): C(order) (C(start-first), or C(stop-first), which a volume or a port of the host forces),
        C(batch), C(health_window) (seconds that a new replica may take until it is healthy, unless its probes allow
        more), C(rollback).'
      - 'C(cluster_access): gives the workload the socket of a Swarm''s manager, or a service account that may do in the
        platform''s namespaces what this module does.'
    type: list
    elements: dict
  names:
    description: With O(state=absent), removes only the workloads of these names, and not the whole set.
    type: list
    elements: str
  prune:
    description: Whether workloads of the set that are no longer declared are removed.
    type: bool
    default: true
  remove_volumes:
    description:
      - With O(state=absent), also removes the volumes. On a Swarm those on this node, and it is forgotten on which
        nodes the data were.
      - On Kubernetes a namespace that the module has made goes with the last thing in it; a volume that is kept keeps
        it.
    type: bool
    default: false
  wait_timeout:
    description: Seconds that each workload may take until it is healthy, and each job until it is done.
    type: float
    default: 300
notes:
  - "On a Swarm images are on every node before a rollout starts: where there are several nodes by a job of the set's
    own, which remains as a record and brings the image to nodes that join later."
  - On Kubernetes nodes pull where they haven't an image yet; before a workload is stopped for its new version, a Pod
    brings the image to its node.
seealso:
  - module: mlops.onprem.workload_info
"""

EXAMPLES = r"""
- name: Run a web server and the store behind it
  mlops.onprem.workload:
    namespace: "{{ mlops_name }}"
    set: example
    images:
      base: "{{ mlops_images.base }}"
    secret_values:
      store_password: "{{ mlops_secret_values.store_password }}"
    workloads:
      - name: store
        image: base
        args: [python3, -m, http.server, "8081", -d, /data]
        ports:
          - {name: http, port: 8081}
        secrets:
          - {name: store_password, path: /run/secrets/store_password}
        volumes:
          - {name: data, path: /data, scope: node}
        probes:
          liveness: {http: {port: http}}
        zone: data
      - name: web
        image: base
        args: [python3, -m, http.server, "8080", -d, /usr/share]
        ports:
          - {name: http, port: 8080}
        routes:
          - {name: page, host: example, port: http}
        probes:
          liveness: {http: {port: http}}
        resources:
          limits: {cpu: 0.5, memory: 64Mi}
        zone: edge
        connects: [store]
        jobs:
          - name: web-greet
            image: base
            args: [wget, -q, -O, /dev/null, "http://store:8081/"]
            connects: [store]

- name: Remove the set and its data
  mlops.onprem.workload:
    namespace: "{{ mlops_name }}"
    set: example
    state: absent
    remove_volumes: true
"""

RETURN = r"""
workloads:
  description: What became of each workload and job.
  returned: always, as far as it is known
  type: dict
  sample:
    web: {status: healthy, changed: true, why: [Env.COLOUR], error: null, log: []}
  contains:
    status:
      description:
        - One of C(healthy), C(completed) (a job), C(starting), C(failed), C(rolled back), C(waiting) (for one that
          failed), C(absent).
        - In check mode, what it is now.
      type: str
    changed:
      description: Whether it changed, or would change.
      type: bool
    why:
      description: The fields that differed, or another reason for the change.
      type: list
      elements: str
    error:
      description: What went wrong, if anything.
      type: str
    log:
      description: The last log lines of what failed, and of a job that ran.
      type: list
      elements: str
problems:
  description: What is wrong with the declaration, or went wrong with workloads, one entry each.
  returned: on failure
  type: list
  elements: str
notes:
  description: What the user should know about, though nothing failed.
  returned: always, as far as it is known
  type: list
  elements: str
progress:
  description: What was done and seen, with the seconds since the start.
  returned: always, as far as it is known
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._workload import Result, WorkloadError
from ansible_collections.mlops.onprem.plugins.module_utils._workload.backends import backend
from ansible_collections.mlops.onprem.plugins.module_utils._workload.options import CLUSTER, DECLARED


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER,
            **DECLARED,
            "set": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "workloads": {"type": "list", "elements": "dict"},
            "names": {"type": "list", "elements": "str"},
            "prune": {"type": "bool", "default": True},
            "remove_volumes": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 300},
        },
        required_if=[("state", "present", ["workloads"])],
        supports_check_mode=True,
    )
    try:
        result = run(module.params, module.check_mode)
    except WorkloadError as error:
        facts = error.result.to_dict() if isinstance(error.result, Result) else {}
        module.fail_json(msg=message(error), problems=error.problems, **facts)
    if result.changed:
        for note in result.notes:
            module.warn(note)
    module.exit_json(**result.to_dict())


def run(params: dict[str, Any], check: bool) -> Result:
    """What the options ask for."""
    cluster = backend(
        params["target"],
        params["namespace"],
        domain=params["domain"],
        wait_timeout=params["wait_timeout"],
        docker_host=params["docker_host"],
        kubernetes=params["kubernetes"],
        registry_auth=params["registry_auth"],
    )
    if params["state"] == "absent":
        return cluster.absent(
            params["set"], names=params["names"], remove_volumes=params["remove_volumes"], check=check
        )
    return cluster.apply(
        params["set"],
        params["workloads"],
        images=params["images"],
        secret_values={name: str(value) for name, value in params["secret_values"].items() if value is not None},
        check=check,
        prune=params["prune"],
    )


def message(error: WorkloadError) -> str:
    """The error, with the log lines of what failed below it."""
    lines = [error.message if not error.problems else f"{error.message}:"]
    lines += [f"- {problem}" for problem in error.problems]
    if isinstance(error.result, Result):
        for name, outcome in error.result.workloads.items():
            if outcome.error and outcome.log:
                lines += [f"Last log lines of {name}:", *(f"    {line}" for line in outcome.log)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
