# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Grafana 10.0: what the modules ask of it, with its defaults, refusals and oddities.

Its oddities are those that modules must cope with: it tells who locked a rule with the rule alone, knows no new uids
and keeps no order in a group, unlocks no contact point, hides secrets, and answers 500 where it refuses a state.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
SECRETS: dict[str, tuple[str, ...]] = {
    "webhook": ("password", "authorization_credentials"),
    "email": (),
    "slack": ("url", "token"),
}
NEEDED = {"webhook": "url", "email": "addresses"}
NEED_URL = ("postgres", "prometheus", "influxdb", "mysql", "elasticsearch")
"""Some of the data sources that can't be changed without an address."""
DEFAULT: Json = {"receiver": "grafana-default-email", "group_by": ["grafana_folder", "alertname"]}
REDACTED = "[REDACTED]"
RULE = (
    *("uid", "title", "condition", "data", "noDataState", "execErrState", "for", "annotations", "labels", "isPaused"),
    *("folderUID", "ruleGroup"),
)


class Refused(Exception):
    def __init__(self, status: int, message: str | None) -> None:
        super().__init__(message)
        self.status = status


class Org:
    """What one organisation has."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}
        self.dashboards: dict[str, list[Json]] = {}
        self.sources: dict[str, Json] = {}
        self.source_secrets: dict[str, dict[str, str]] = {}
        self.rules: dict[str, Json] = {}
        self.intervals: dict[tuple[str, str], int] = {}
        self.points: dict[str, Json] = {}
        self.policies: Json = copy.deepcopy(DEFAULT)
        mail = {"name": DEFAULT["receiver"], "type": "email", "settings": {"addresses": "<example@email.com>"}}
        self.points["default"] = {"uid": "default", "disableResolveMessage": False, "provenance": "", **mail}


class StandIn:
    """The whole server, with one administrator."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._basic = self._login(password)
        self._tokens: dict[str, str] = {}
        self._accounts: dict[int, str] = {}
        self._orgs = {1: Org()}
        self._count = 0
        self.lock = threading.Lock()

    def _login(self, password: str) -> str:
        return f"Basic {base64.b64encode(f'{self._user}:{password}'.encode()).decode()}"

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: Any) -> Any:
        parts = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(parts.query))
        path = [urllib.parse.unquote(one) for one in parts.path.strip("/").split("/")]
        if path == ["api", "health"]:
            return {"database": "ok", "version": "10.0.0"}
        role = self._role(headers.get("Authorization", ""))
        if path[0] != "api":
            raise Refused(404, "<html>Page not found</html>")
        if method != "GET" and role != "Admin":
            raise Refused(403, "You'll need additional permissions to perform this action. Permissions needed: x")
        org = self._orgs[int(headers.get("X-Grafana-Org-Id") or 1)]
        locked = "" if headers.get("X-Disable-Provenance") else "api"
        routes: dict[str, Callable[[], Any]] = {
            "org": lambda: {"id": 1},
            "orgs": lambda: self._new_org(),
            "user": lambda: self._user_of(path[2:], body),
            "serviceaccounts": lambda: self._accounts_of(path[2:], body),
            "alert-notifiers": lambda: [
                {"type": kind, "options": [{"propertyName": name, "secure": True} for name in names]}
                for kind, names in SECRETS.items()
            ],
            "folders": lambda: self._folders(org, method, path[2:], body),
            "search": lambda: self._search(org, query),
            "dashboards": lambda: self._dashboards(org, method, path[2:], body),
            "datasources": lambda: self._sources(org, method, path[2:], body),
            "v1": lambda: self._provisioning(org, method, path[3:], query, body, locked),
        }
        if path[1] not in routes:
            raise Refused(404, "Not found")
        return routes[path[1]]()

    def _new(self) -> str:
        self._count += 1
        return f"made-{self._count}"

    def _role(self, authorization: str) -> str:
        if authorization == self._basic:
            return "Admin"
        role = self._tokens.get(authorization.removeprefix("Bearer "))
        if role is None:
            raise Refused(401, "Invalid API key" if "Bearer" in authorization else "Invalid username or password")
        return role

    def _new_org(self) -> Json:
        number = len(self._orgs) + 1
        self._orgs[number] = Org()
        return {"orgId": number}

    def _user_of(self, path: list[str], body: Json) -> Json:
        assert path == ["password"] and self._login(body["oldPassword"]) == self._basic
        self._basic = self._login(body["newPassword"])
        return {"message": "User password changed"}

    def _accounts_of(self, path: list[str], body: Json) -> Json:
        if path:
            key = f"glsa_{self._new()}_for-tests"
            self._tokens[key] = self._accounts[int(path[0])]
            return {"key": key}
        self._accounts[len(self._accounts) + 1] = body["role"]
        return {"id": len(self._accounts)}

    def _folders(self, org: Org, method: str, path: list[str], body: Json) -> Any:
        if method == "POST":
            if body["title"] in org.folders.values():
                raise Refused(409, "a folder with the same name already exists")
            uid = body.get("uid") or self._new()
            org.folders[uid] = body["title"]
            return {"uid": uid, "title": body["title"]}
        if not path:
            return [{"uid": uid, "title": title} for uid, title in org.folders.items()]
        if path[0] not in org.folders:
            raise Refused(404, "folder not found")
        return {"uid": path[0], "title": org.folders[path[0]]}

    def _search(self, org: Org, query: Mapping[str, str]) -> list[Json]:
        assert query["type"] == "dash-db"
        found = [(uid, versions[-1]) for uid, versions in org.dashboards.items()]
        # What lies at the top has no folder at all.
        return [
            {"uid": uid, "title": last["dashboard"]["title"]}
            | ({"folderUid": last["folder"]} if last["folder"] else {})
            for uid, last in found
        ]

    def _dashboards(self, org: Org, method: str, path: list[str], body: Json) -> Any:
        if path == ["db"]:
            model = dict(body["dashboard"])
            folder = body.get("folderUid") or ""
            self._check_dashboard(org, model, folder, bool(body.get("overwrite")))
            versions = org.dashboards.setdefault(model["uid"], [])
            model |= {"id": len(org.dashboards), "version": len(versions) + 1}
            versions.append({"dashboard": model, "folder": folder, "message": body.get("message", "")})
            return {"status": "success"}
        versions = org.dashboards.get(path[1], [])
        if not versions:
            raise Refused(404, "Dashboard not found")
        if path[2:] == ["versions"]:
            return [{"message": one["message"]} for one in versions[::-1]]
        if method == "DELETE":
            return org.dashboards.pop(path[1]) and {"message": "deleted"}
        last = versions[-1]
        slug = re.sub(r"[^a-z0-9]+", "-", last["dashboard"]["title"].lower()).strip("-")
        title = org.folders.get(last["folder"], "General")
        meta = {"folderUid": last["folder"], "folderTitle": title, "url": f"/d/{path[1]}/{slug}", "provisioned": False}
        return {"dashboard": last["dashboard"], "meta": meta}

    def _check_dashboard(self, org: Org, model: Json, folder: str, overwrite: bool) -> None:
        uid, title = model["uid"], model["title"].lower()
        if uid in org.folders:
            raise Refused(400, "Dashboard cannot be changed to a folder")
        if title in map(str.lower, org.folders.values()):
            raise Refused(400, "Dashboard name cannot be the same as folder")
        for other, versions in org.dashboards.items():
            last = versions[-1]
            if other != uid and (last["folder"], last["dashboard"]["title"].lower()) == (folder, title):
                assert not overwrite, "it would take over the other one, uid and all"
                raise Refused(412, "A dashboard with the same name in the folder already exists")
        held = org.dashboards.get(uid)
        if held and not overwrite and model.get("version") != len(held):
            raise Refused(412, "The dashboard has been changed by someone else")

    def _sources(self, org: Org, method: str, path: list[str], body: Json) -> Any:
        if not path and method == "GET":
            return [{key: one[key] for key in one if key != "secureJsonFields"} for one in org.sources.values()]
        if method == "POST":
            if any(one["name"] == body["name"] for one in org.sources.values()):
                raise Refused(409, "data source with the same name already exists")
            return self._keep_source(org, body.get("uid") or self._new(), body)
        by = "name" if path[0] == "name" else "uid"
        found = [uid for uid, one in org.sources.items() if one[by] == path[1]]
        if not found:
            raise Refused(404, "Data source not found")
        if method == "PUT":
            if body["type"] in NEED_URL and not body.get("url"):
                raise Refused(400, "Validation error, invalid URL")
            return self._keep_source(org, found[0], body)
        if method == "DELETE":
            org.source_secrets.pop(found[0])
            return {"message": "deleted", "name": org.sources.pop(found[0])["name"]}
        return org.sources[found[0]]

    def _keep_source(self, org: Org, uid: str, body: Json) -> Json:
        secrets = org.source_secrets.setdefault(uid, {})
        secrets |= body.get("secureJsonData") or {}
        texts = {key: body.get(key) or "" for key in ("name", "type", "access", "url", "user", "database")}
        flags = {key: bool(body.get(key)) for key in ("basicAuth", "withCredentials", "isDefault")}
        if flags["isDefault"]:
            for other in org.sources.values():
                other["isDefault"] = False
        kept = {"uid": uid, **texts, **flags, "basicAuthUser": body.get("basicAuthUser") or "", "readOnly": False}
        kept["jsonData"] = body.get("jsonData") or {}
        kept["secureJsonFields"] = {key: True for key, value in secrets.items() if value}
        org.sources[uid] = kept
        return {"message": "Datasource updated"}

    def _provisioning(
        self, org: Org, method: str, path: list[str], query: Mapping[str, str], body: Any, locked: str
    ) -> Any:
        if path[0] == "policies":
            return self._policies(org, method, body, locked)
        if path[0] == "contact-points":
            return self._points(org, method, path[1:], query, body, locked)
        if path[0] == "alert-rules":
            return self._rules(org, method, path[1:], body, locked)
        if path[0] == "folder" and path[2] == "rule-groups":
            return self._group(org, method, path[1], path[3], body, locked)
        raise Refused(404, "Not found")

    # rules

    def _rules(self, org: Org, method: str, path: list[str], body: Json, locked: str) -> Any:
        if method == "POST":
            return self._insert(org, body, locked)
        if not path:
            # Who locked them is not told here.
            return [{**one, "provenance": ""} for one in org.rules.values()]
        held = org.rules.get(path[0])
        if method == "DELETE":
            if held and held["provenance"] not in ("", locked):
                raise Refused(500, f"cannot delete with provided provenance '{locked}', needs '{held['provenance']}'")
            org.rules.pop(path[0], None)
            return None
        if held is None:
            raise Refused(404, None)
        if method == "PUT":
            if held["provenance"] not in ("", locked):
                raise Refused(500, f"cannot change provenance from '{held['provenance']}' to '{locked}'")
            held.update(self._rule(body) | {"uid": path[0], "provenance": locked})
        return {key: value for key, value in held.items() if key != "provenance" or value}

    def _rule(self, body: Json) -> Json:
        kept = {key: copy.deepcopy(body[key]) for key in RULE if body.get(key) not in (None, {})}
        kept["isPaused"] = bool(body.get("isPaused"))
        for one in kept["data"]:
            model = one["model"]
            for key, value in (("maxDataPoints", 43200), ("intervalMs", 1000)):
                if isinstance(model.get(key), bool) or not isinstance(model.get(key), (int, float)) or not model[key]:
                    model[key] = value
            one["queryType"] = model.get("queryType", one.get("queryType", ""))
            times = one.setdefault("relativeTimeRange", {"from": 0, "to": 0})
            if one["datasourceUid"] not in ("__expr__", "-100") and times["from"] <= times["to"]:
                raise Refused(500, f"invalid alert query {one['refId']}: invalid relative time range")
        return kept

    def _insert(self, org: Org, body: Json, locked: str) -> Json:
        kept = self._rule(body) | {"provenance": locked}
        kept["uid"] = kept.get("uid") or self._new()
        for other in org.rules.values():
            if (other["folderUID"], other["title"]) == (kept["folderUID"], kept["title"]) or other["uid"] == kept[
                "uid"
            ]:
                raise Refused(
                    500, "a conflicting alert rule is found: rule title under the same organisation and folder"
                )
        org.rules[kept["uid"]] = kept
        org.intervals.setdefault((kept["folderUID"], kept["ruleGroup"]), 60)
        return kept

    def _group(self, org: Org, method: str, folder: str, name: str, body: Json, locked: str) -> Json:
        held = [one for one in org.rules.values() if (one["folderUID"], one["ruleGroup"]) == (folder, name)]
        if method == "GET":
            if not held:
                raise Refused(404, "rule group not found")
            rules = [{key: value for key, value in one.items() if key != "provenance"} for one in held]
            return {"title": name, "folderUid": folder, "interval": org.intervals[folder, name], "rules": rules}
        if not body["interval"] or body["interval"] % 10:
            said = f"interval ({body['interval']}s) should be non-zero and divided exactly by scheduler interval: 10"
            raise Refused(400, f"invalid alert rule: {said}")
        if not body["rules"]:
            raise AssertionError("takes no rules for no change")
        wanted = [one | {"folderUID": folder, "ruleGroup": name} for one in body["rules"]]
        for one in wanted:
            if one.get("uid") and one["uid"] not in org.rules:
                raise Refused(500, f"failed to update rule with UID {one['uid']} because could not find alert rule")
        before = copy.deepcopy(org.rules)
        try:
            # New ones come before old ones go, as in the server.
            for one in wanted:
                if not one.get("uid"):
                    self._insert(org, one, locked)
            kept = {one["uid"] for one in wanted if one.get("uid")}
            for one in wanted:
                if one.get("uid"):
                    place = org.rules[one["uid"]]
                    place.clear()
                    place.update(self._rule(one) | {"provenance": locked})
            for one in held:
                if one["uid"] not in kept:
                    org.rules.pop(one["uid"])
        except Refused:
            org.rules = before
            raise
        org.intervals[folder, name] = body["interval"]
        return body

    # contact points

    def _points(self, org: Org, method: str, path: list[str], query: Mapping[str, str], body: Json, locked: str) -> Any:
        if method == "GET":
            return [self._point(one) for one in org.points.values() if query.get("name") in (None, one["name"])]
        if method == "DELETE":
            held = org.points.get(path[0])
            if held is None:
                return {"message": "contactpoint deleted"}
            if sum(one["name"] == held["name"] for one in org.points.values()) == 1 and self._used(org, held["name"]):
                raise Refused(500, f"contact point '{held['name']}' is currently used by a notification policy")
            org.points.pop(path[0])
            return {"message": "contactpoint deleted"}
        settings = dict(body["settings"])
        if body["type"] not in SECRETS:
            raise Refused(400, f"validation error: invalid object specification: no type {body['type']}")
        if method == "PUT":
            if path[0] not in org.points:
                raise Refused(404, f"contact point with uid '{path[0]}' not found")
            held = org.points[path[0]]
            if held["provenance"] not in ("", locked):
                raise Refused(500, f"cannot change provenance from '{held['provenance']}' to '{locked}'")
            for name in SECRETS[body["type"]]:
                if settings.get(name) == REDACTED:
                    settings[name] = held["settings"].get(name, "")
        elif body.get("uid") in org.points:
            raise Refused(500, f"receiver configuration with UID '{body['uid']}' already exist in contact point")
        needed = NEEDED.get(body["type"])
        if needed and not settings.get(needed):
            raise Refused(400, f"validation error: required field '{needed}' is not specified")
        uid = path[0] if method == "PUT" else body.get("uid") or self._new()
        kept = {"uid": uid, "name": body["name"], "type": body["type"], "settings": settings, "provenance": locked}
        org.points[uid] = kept | {"disableResolveMessage": bool(body.get("disableResolveMessage"))}
        return self._point(org.points[uid])

    def _point(self, held: Json) -> Json:
        hidden = {name: REDACTED for name in SECRETS[held["type"]] if held["settings"].get(name)}
        shown = {key: value for key, value in held["settings"].items() if key not in SECRETS[held["type"]]}
        said = held | {"settings": shown | hidden}
        return {key: value for key, value in said.items() if key != "provenance" or value}

    def _used(self, org: Org, name: str) -> bool:
        def names(route: Json) -> Iterator[str]:
            yield route.get("receiver", "")
            for one in route.get("routes") or []:
                yield from names(one)

        return name in names(org.policies)

    # policies

    def _policies(self, org: Org, method: str, body: Json, locked: str) -> Json:
        if method == "PUT":
            if not body.get("receiver"):
                raise Refused(400, "invalid object specification: root route must specify a default receiver")
            made = self._route(org, body)
            org.policies = made | ({"provenance": locked} if locked else {})
            return {"message": "policies updated"}
        if method == "DELETE":
            org.policies = copy.deepcopy(DEFAULT)
        return org.policies

    def _route(self, org: Org, route: Json) -> Json:
        known = {one["name"] for one in org.points.values()}
        if route.get("receiver", "") not in known:
            raise Refused(400, f"invalid object specification: receiver '{route.get('receiver', '')}' does not exist")
        for name in route.get("mute_time_intervals") or []:
            raise Refused(400, f"invalid object specification: mute time interval '{name}' does not exist")
        kept = {
            key: value for key, value in route.items() if value not in (None, [], False, "") and key != "provenance"
        }
        if "object_matchers" in kept:
            kept["object_matchers"] = sorted(kept["object_matchers"])
        if kept.get("routes"):
            kept["routes"] = [self._route(org, one) for one in kept["routes"]]
        return kept


@contextlib.contextmanager
def served(stand_in: StandIn) -> Iterator[str]:
    """The stand-in's address."""

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            # A client that goes is no failure.
            with contextlib.suppress(ConnectionError):
                super().handle()

        def do(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                with stand_in.lock:
                    said = stand_in.answer(self.command, self.path, self.headers, json.loads(raw or b"null"))
                status, body = 200, json.dumps(said).encode() if said is not None else b""
            except Refused as refused:
                status, text = refused.status, str(refused)
                body = b"" if text == "None" else json.dumps({"message": text}).encode()
                body = text.encode() if text.startswith("<") else body
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if body.startswith(b"<") else "application/json")
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
