# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Pods on a bed, and what they say."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from k8s import Bed, Node
from k8s_api import Api, ApiError
from k8s_programs import TEST_IMAGE
from nodes import BedError

TUNABLES = [
    Path("/proc/sys", name)
    for name in ("kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "vm/overcommit_memory")
]
NAMESPACE = "bed-test"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def eventually(seconds: float, condition: Callable[[], Any], what: str = "") -> Any:
    deadline = time.monotonic() + seconds
    last: Any = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (OSError, BedError, AssertionError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; last: {last!r}")
        time.sleep(0.3)


class Cluster:
    """A bed with a namespace that admits restricted Pods only, and one for the others: ``default``."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.api: Api = bed.api()
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply("v1", "Namespace", "namespaces", NAMESPACE, {"metadata": {"labels": labels}}, namespace="")

    def apply(
        self, version: str, kind: str, resource: str, name: str, rest: dict[str, Any], namespace: str = NAMESPACE
    ) -> Any:
        metadata = {"name": name, **rest.get("metadata", {})}
        prefix = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        place = f"{prefix}/namespaces/{namespace}/{resource}" if namespace else f"{prefix}/{resource}"
        manifest = {"apiVersion": version, "kind": kind, **rest, "metadata": metadata}
        return self.api.apply(f"{place}/{name}", manifest)

    def pod(self, name: str, script: str, node: Node, namespace: str = NAMESPACE, **more: Any) -> None:
        """Starts a Pod; ``more`` are fields of its one container."""
        volumes = more.pop("volumes", [])
        labels = more.pop("labels", {})
        container = {"name": "main", "image": TEST_IMAGE, "command": ["sh", "-c", script], **more}
        container.setdefault("securityContext", RESTRICTED)
        spec = {
            "nodeSelector": {"kubernetes.io/hostname": node.name},
            "securityContext": {"fsGroup": 10001},
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": volumes,
        }
        self.apply("v1", "Pod", "pods", name, {"metadata": {"labels": labels}, "spec": spec}, namespace)

    def get_pod(self, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        return dict(self.api.ask("GET", f"/api/v1/namespaces/{namespace}/pods/{name}"))

    def wait_for_pod(self, name: str, phase: str = "Running", namespace: str = NAMESPACE, restarts: int = 0) -> Any:
        def reached() -> Any:
            status = self.get_pod(name, namespace)["status"]
            states = status.get("containerStatuses", [])
            ready = phase != "Running" or all(state["ready"] and state["restartCount"] >= restarts for state in states)
            assert status["phase"] == phase and states and ready, status
            return status

        return eventually(40, reached, f"{name} to be {phase}")

    def said(self, name: str, namespace: str = NAMESPACE) -> str:
        """The log of a Pod's container, which comes from its node's kubelet."""
        return str(self.api.ask("GET", f"/api/v1/namespaces/{namespace}/pods/{name}/log"))

    def said_at_last(self, name: str, word: str) -> str:
        eventually(20, lambda: word in self.said(name).split(), f"{name} to say {word}")
        return self.said(name)

    def gone(self, path: str) -> bool:
        try:
            self.api.ask("GET", path)
        except ApiError as error:
            return error.status == 404
        return False


def on(node: Node, *command: str) -> str:
    return subprocess.run(node.enter(*command), text=True, capture_output=True, check=True, timeout=60).stdout.strip()


@contextmanager
def registry(address: str, archive: bytes, name: str) -> Iterator[str]:
    """A registry with one image, over plain HTTP at an address of this machine; yields where it is."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        parts = [file.read() for part in ("config.json", "layer.tar") if (file := tar.extractfile(part))]
    kinds = ("image.config.v1+json", "image.layer.v1.tar")
    prefix = "application/vnd.oci."
    entries = [
        {"mediaType": prefix + kind, "size": len(part), "digest": f"sha256:{hashlib.sha256(part).hexdigest()}"}
        for kind, part in zip(kinds, parts, strict=True)
    ]
    kind = f"{prefix}image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": entries[0], "layers": entries[1:]}
    blobs = {str(entry["digest"]): part for entry, part in zip(entries, parts, strict=True)}
    content = json.dumps(manifest).encode()
    manifests = dict.fromkeys(("1", f"sha256:{hashlib.sha256(content).hexdigest()}"), content)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            what, _, which = self.path.removeprefix(f"/v2/{name}/").partition("/")
            which = which.partition("?")[0]
            body = {"manifests": manifests, "blobs": blobs}.get(what, {}).get(which)
            self.send_response(200 if body is not None or self.path == "/v2/" else 404)
            self.send_header("Content-Type", kind if what == "manifests" else "application/octet-stream")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{address}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
