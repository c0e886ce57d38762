# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a Grafana without the provisioning API: the shapes of its successor, as Grafana 13 answers.

It keeps what it is given as the real one does: names and versions of its own, secrets apart, defaults in queries.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RULES = "rules.alerting.grafana.app"
NOTIFICATIONS = "notifications.alerting.grafana.app"
SECRET = frozenset({"password", "authorization_credentials"})
TREE: dict[str, Any] = {
    "defaults": {"receiver": "grafana-default-email", "group_by": ["grafana_folder", "alertname"]},
    "routes": [],
}


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Successor:
    """What the server has. ``versions`` are those of notifications; v1beta1 keeps no settings that it doesn't know."""

    def __init__(self, versions: tuple[str, ...] = ("v1beta1", "v0alpha1")) -> None:
        self.versions = {RULES: ("v1beta1", "v0alpha1"), NOTIFICATIONS: versions}
        self.folders: dict[str, str] = {}
        self.objects: dict[str, dict[str, dict[str, Any]]] = {"alertrules": {}, "receivers": {}, "routingtrees": {}}
        self.secrets: dict[str, dict[str, str]] = {}
        self.writes: list[str] = []
        self._count = 0
        self._keep("routingtrees", "user-defined", {"annotations": {}}, copy.deepcopy(TREE))

    def answer(self, method: str, path: str, body: Any) -> Any:
        if method != "GET":
            self.writes.append(f"{method} {path}")
        if path == "/api/health":
            return {"database": "ok", "version": "14.0.0"}
        if path == "/api/org":
            return {"id": 1, "name": "Main Org."}
        if path == "/api/folders":
            if method == "POST":
                uid = body.get("uid") or self._new()
                self.folders[uid] = body["title"]
                return {"uid": uid, "title": body["title"]}
            return [{"uid": uid, "title": title} for uid, title in self.folders.items()]
        if found := re.fullmatch(r"/api/folders/([^/]+)", path):
            if found[1] not in self.folders:
                raise Refused(404, "folder not found")
            return {"uid": found[1], "title": self.folders[found[1]]}
        if found := re.fullmatch(r"/apis/([^/]+)", path):
            versions = [
                {"groupVersion": f"{found[1]}/{one}", "version": one} for one in self.versions.get(found[1], ())
            ]
            if versions:
                return {"kind": "APIGroup", "name": found[1], "versions": versions, "preferredVersion": versions[0]}
        if found := re.fullmatch(r"/apis/([^/]+)/([^/]+)/namespaces/default/([a-z]+)(?:/([^/]+))?", path):
            group, version, plural, name = found.groups()
            if version in self.versions.get(group, ()) and plural in self.objects:
                return self._resource(method, version, plural, name, body)
        raise Refused(404, "Not found")

    def _resource(self, method: str, version: str, plural: str, name: str | None, body: Any) -> Any:
        held = self.objects[plural]
        if name is None and method == "GET":
            return {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": list(held.values())}
        if name is None:
            name = body["metadata"].get("name") or self._new()
            if name in held:
                raise Refused(409, f"{plural} {name!r} already exists")
            return self._write(version, plural, name, body)
        if name not in held:
            raise Refused(404, f'{plural} "{name}" not found')
        if method == "PUT":
            if body["metadata"].get("resourceVersion") != held[name]["metadata"]["resourceVersion"]:
                raise Refused(409, "the object has been modified; please apply your changes to the latest version")
            return self._write(version, plural, name, body)
        if method == "DELETE":
            if plural == "routingtrees":
                return self._keep(plural, name, {"annotations": {}}, copy.deepcopy(TREE))
            return held.pop(name)
        return held[name]

    def _write(self, version: str, plural: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        metadata, spec = body["metadata"], copy.deepcopy(body["spec"])
        if plural == "alertrules":
            if metadata["annotations"].get("grafana.app/folder") not in self.folders:
                raise Refused(400, "folder does not exist")
            if not any(one.get("source") for one in spec["expressions"].values()):
                raise Refused(400, "no query marked as source")
            for one in spec["expressions"].values():
                one["model"] = {"intervalMs": 1000, "maxDataPoints": 43200} | one["model"]
        for one in spec.get("integrations", []):
            self._integration(version, one)
        return self._keep(plural, name, {**metadata, "labels": metadata.get("labels") or {}}, spec)

    def _integration(self, version: str, one: dict[str, Any]) -> None:
        one["uid"] = one.get("uid") or self._new()
        stays = [key for key, there in one.pop("secureFields", {}).items() if there]
        kept = {key: self.secrets.get(one["uid"], {})[key] for key in stays}
        kept |= {key: one["settings"].pop(key) for key in SECRET & set(one["settings"])}
        self.secrets[one["uid"]] = kept
        one["secureFields"] = dict.fromkeys(kept, True)
        if version != "v0alpha1":
            one["settings"].pop("mlopsSecretHashes", None)

    def _keep(self, plural: str, name: str, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        metadata = {**metadata, "name": name, "namespace": "default", "resourceVersion": str(self._count)}
        metadata.pop("generateName", None)
        self.objects[plural][name] = {"metadata": metadata, "spec": spec}
        return self.objects[plural][name]

    def _new(self) -> str:
        self._count += 1
        return f"made-{self._count}"


@contextlib.contextmanager
def served(successor: Successor) -> Iterator[str]:
    """The stand-in's address."""

    class Server(BaseHTTPRequestHandler):
        def do(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, said = (
                    200,
                    successor.answer(self.command, self.path.partition("?")[0], json.loads(raw or b"null")),
                )
            except Refused as refused:
                status, said = refused.status, {"kind": "Status", "code": refused.status, "message": str(refused)}
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = do

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
