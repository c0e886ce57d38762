# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What runs on a Kubernetes bed: each program's command, its files, and the objects that it needs in the API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import k8s_programs
from k8s_certificates import Authority, as_file

PODS = "10.244"
"""Pods have addresses 10.244.NODE.x, and Services 10.96.x.x: no host of this machine's networks sees either."""
SERVICES = "10.96"
DNS = f"{SERVICES}.0.10"
DOMAIN = "cluster.local"
VOLUMES = "/var/lib/volumes"
STORAGE_CLASS = "local"
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
CLUSTER_NAMES = "coredns"
"""Starts on the first node, once it may read what it needs."""
EVERY_NODE = ("containerd", "kubelet", "kube-proxy", "volume-provisioner")
ETC = "/etc/kubernetes"


@dataclass(frozen=True)
class Host:
    """A node, as its components must know it."""

    name: str
    number: int
    address: str
    control_plane: bool
    """The first node: its address is the API's."""
    server: str
    name_servers: tuple[str, ...]
    """Those that the cluster's own asks."""
    bridged_packets_seen: bool
    """Whether iptables sees what passes between two Pods of a node."""


def command(host: Host, name: str) -> list[str]:
    """The command line of a component."""
    programs = k8s_programs.place()
    if name == "containerd":
        return ["containerd"]
    return [str(programs / name), *_arguments(host, name)]


def _arguments(host: Host, name: str) -> list[str]:
    match name:
        case "etcd":
            return [
                "--data-dir=/var/lib/etcd/data",
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--initial-advertise-peer-urls=http://127.0.0.1:2380",
                "--initial-cluster=default=http://127.0.0.1:2380",
                # What a node whose plug is pulled has written is safe in this machine's memory.
                "--unsafe-no-fsync",
                "--log-level=warn",
            ]
        case "kube-apiserver":
            return [
                f"--advertise-address={host.address}",
                "--etcd-servers=http://127.0.0.1:2379",
                f"--service-cluster-ip-range={SERVICES}.0.0/16",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                "--kubelet-preferred-address-types=InternalIP",
                f"--client-ca-file={ETC}/ca.crt",
                f"--tls-cert-file={ETC}/kube-apiserver.crt",
                f"--tls-private-key-file={ETC}/kube-apiserver.key",
                f"--kubelet-certificate-authority={ETC}/ca.crt",
                f"--kubelet-client-certificate={ETC}/kube-apiserver.crt",
                f"--kubelet-client-key={ETC}/kube-apiserver.key",
                f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
                f"--service-account-key-file={ETC}/accounts.pub",
                f"--service-account-signing-key-file={ETC}/accounts.key",
            ]
        case "kube-controller-manager":
            return [
                f"--kubeconfig={ETC}/kube-controller-manager.conf",
                "--bind-address=127.0.0.1",
                "--leader-elect=false",
                "--allocate-node-cidrs=false",
                # So that a test of a lost node takes half a minute rather than one.
                "--node-monitor-grace-period=20s",
                f"--root-ca-file={ETC}/ca.crt",
                f"--cluster-signing-cert-file={ETC}/ca.crt",
                f"--cluster-signing-key-file={ETC}/ca.key",
                f"--service-account-private-key-file={ETC}/accounts.key",
                "--use-service-account-credentials",
            ]
        case "kube-scheduler":
            return [f"--kubeconfig={ETC}/kube-scheduler.conf", "--bind-address=127.0.0.1", "--leader-elect=false"]
        case "coredns":
            return ["-conf", f"{ETC}/Corefile"]
        case "kubelet":
            return [
                f"--config={ETC}/kubelet.json",
                f"--kubeconfig={ETC}/kubelet.conf",
                f"--hostname-override={host.name}",
                f"--node-ip={host.address}",
            ]
        case "kube-proxy":
            return [f"--config={ETC}/kube-proxy.json"]
        case "volume-provisioner":
            return [
                f"--kubeconfig={ETC}/volume-provisioner.conf",
                "--provisioner=testbed.invalid/local",
                f"--node={host.name}",
                f"--directory={VOLUMES}",
            ]
    raise AssertionError(name)


def users(host: Host) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Who a component is to the API server: user and groups."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {
        "kubelet": (f"system:node:{host.name}", ("system:nodes",)),
        "kube-proxy": ("system:kube-proxy", ()),
        "volume-provisioner": (f"testbed:volume-provisioner:{host.name}", ("testbed:volume-provisioners",)),
    }
    if host.control_plane:
        found["kube-controller-manager"] = ("system:kube-controller-manager", ())
        found["kube-scheduler"] = ("system:kube-scheduler", ())
        found["coredns"] = ("testbed:coredns", ())
    return found


def files(host: Host, authority: Authority) -> dict[str, bytes]:
    """The files of a node's components, by path."""
    made = {f"{ETC}/ca.crt": authority.pem}
    for name, (user, groups) in users(host).items():
        made[f"{ETC}/{name}.conf"] = as_file(authority.kubeconfig(host.server, "testbed", user, groups))
    serving: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {}
    serving["kubelet"] = (f"system:node:{host.name}", ("system:nodes",), (host.name, host.address))
    if host.control_plane:
        own = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}")
        addresses = (host.address, f"{SERVICES}.0.1", "127.0.0.1")
        serving["kube-apiserver"] = ("testbed:kube-apiserver", (), (*own, "localhost", host.name, *addresses))
        made[f"{ETC}/Corefile"] = _corefile(host).encode()
        for name in ("ca.key", "accounts.key", "accounts.pub"):
            made[f"{ETC}/{name}"] = (authority.directory / name).read_bytes()
    for name, identity in serving.items():
        made[f"{ETC}/{name}.crt"], made[f"{ETC}/{name}.key"] = authority.issue(*identity)
    made[f"{ETC}/kubelet.json"] = json.dumps(_kubelet()).encode()
    made[f"{ETC}/kube-proxy.json"] = json.dumps(_proxy(host)).encode()
    made["/etc/containerd/config.toml"] = _containerd().encode()
    made["/etc/cni/net.d/10-testbed.conflist"] = json.dumps(_pod_network(host)).encode()
    return made


def _kubelet() -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{ETC}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{ETC}/kubelet.crt",
        "tlsPrivateKeyFile": f"{ETC}/kubelet.key",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "resolvConf": "/etc/resolv.conf",
        "serializeImagePulls": False,
        "nodeStatusUpdateFrequency": "4s",
        "nodeLeaseDurationSeconds": 20,
        # This machine's disk may well be nearly full, and the images come from no registry.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
    }


def _proxy(host: Host) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": host.name,
        "clusterCIDR": f"{PODS}.0.0/16",
        "clientConnection": {"kubeconfig": f"{ETC}/kube-proxy.conf"},
        "metricsBindAddress": "127.0.0.1:10249",
        "iptables": {"masqueradeAll": not host.bridged_packets_seen},
        # The table's size and time-outs are this machine's business.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _containerd() -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""\
version = 2

[{cri}]
sandbox_image = "{k8s_programs.PAUSE_IMAGE}"
# A machine may lack the right to lower a process's score.
restrict_oom_score_adj = true
# A profile would be this machine's, and stay.
disable_apparmor = true

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false

[{cri}.cni]
bin_dir = "{k8s_programs.network_plugins()}"
conf_dir = "/etc/cni/net.d"

[{cri}.registry]
config_path = "/etc/containerd/certs.d"
"""


def _pod_network(host: Host) -> dict[str, Any]:
    # In /run, as a node that was switched off has no Pods.
    addresses = {"type": "host-local", "dataDir": "/run/pod-addresses"}
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            **addresses,
            "ranges": [[{"subnet": f"{PODS}.{host.number}.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    host_ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "testbed", "plugins": [bridge, host_ports]}


def _corefile(host: Host) -> str:
    forward = f"    forward . {' '.join(host.name_servers)}\n" if host.name_servers else ""
    return f"""\
. {{
    bind {host.address}
    errors
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {ETC}/coredns.conf
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
{forward}    cache 30 {{
        disable success {DOMAIN}
        disable denial {DOMAIN}
    }}
    loop
}}
"""


def objects(control_plane: Host) -> dict[str, dict[str, Any]]:
    """What the API must hold besides its own, by path."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    group = "rbac.authorization.k8s.io"
    read = ["get", "list", "watch"]
    roles = {
        "testbed:coredns": [
            {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": read},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
        ],
        "testbed:volume-provisioner": [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": read},
            {
                "apiGroups": [""],
                "resources": ["persistentvolumes"],
                "verbs": [*read, "create", "delete", "patch", "update"],
            },
            {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": [*read, "patch", "update"]},
            {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": read},
            {"apiGroups": [""], "resources": ["events"], "verbs": [*read, "create", "patch", "update"]},
        ],
    }
    bindings = {
        "testbed:coredns": ("testbed:coredns", {"kind": "User", "name": "testbed:coredns"}),
        "testbed:volume-provisioner": (
            "testbed:volume-provisioner",
            {"kind": "Group", "name": "testbed:volume-provisioners"},
        ),
        "testbed:kube-apiserver": ("system:kubelet-api-admin", {"kind": "User", "name": "testbed:kube-apiserver"}),
    }
    made: dict[str, dict[str, Any]] = {}
    for name, rules in roles.items():
        made[f"{rbac}/clusterroles/{name}"] = {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        }
    for name, (role, subject) in bindings.items():
        made[f"{rbac}/clusterrolebindings/{name}"] = {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, **subject}],
        }
    made[f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}"] = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "testbed.invalid/local",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    made["/api/v1/namespaces/kube-system/services/kube-dns"] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": DNS, "ports": ports},
    }
    made["/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns"] = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [control_plane.address], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return made


def name_servers(text: str) -> tuple[str, ...]:
    """Those of a resolv.conf that a node can reach: not this machine's own."""
    rows = (line.split() for line in text.splitlines())
    servers = [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"]
    return tuple(server for server in servers if not server.startswith("127.") and ":" not in server)


def bridged_packets_seen() -> bool:
    return Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
