# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of Grafana's HTTP API that the modules need, one method each."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from .._errors import RequestError
from .._http import HttpClient

PAGE = 1000
NO_ROUTE = "Not found"
"""What Grafana says of a path that it doesn't know; an absent thing is named."""
UNLOCKED = {"X-Disable-Provenance": "true"}
"""What keeps alerting's things editable in the pages."""
NOT_GRAFANA = "Is grafana_url the address of Grafana, with the path that it is served under, if any?"
NEWEST = (999,)

Json = dict[str, Any]


def explain(status: int | None, message: str) -> str:
    """What to do about an answer of Grafana."""
    if status is None:
        if "is not JSON" in message:
            return NOT_GRAFANA
        return "Is Grafana running, and is url its address?"
    if status == 401:
        return "Grafana refuses these credentials: check username and password, or token, and org_id."
    if status == 403 and "permission" in message.lower():
        return "The user or service account needs the role Admin in this organisation, or that permission."
    if status in (404, 405):
        return NOT_GRAFANA if message in (NO_ROUTE, "Method Not Allowed") else ""
    if status in (301, 302, 307, 308):
        return "Set grafana_url to the address that it redirects to."
    if status in (502, 503, 504):
        return "Grafana is not ready, or the gateway finds it not: try again when it is healthy."
    if status >= 500:
        return "If this doesn't say why, Grafana's log does."
    return ""


def path(*parts: str) -> str:
    """A path of names, each quoted."""
    return "".join(f"/{urllib.parse.quote(part, safe='')}" for part in parts)


class GrafanaClient:
    """One organisation of one Grafana server."""

    def __init__(self, http: HttpClient, org_id: int | None = None) -> None:
        self.http = http
        self.org_id = org_id

    # the server

    def version(self) -> tuple[int, ...]:
        """As in (10, 0, 0); a server that keeps it to itself counts as the newest."""
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", str(self.get("/api/health").get("version", "")))
        return tuple(map(int, found.groups())) if found else NEWEST

    def current_org(self) -> int:
        return self.org_id or int(self.get("/api/org")["id"])

    # folders

    def find_folder(self, uid: str) -> Json | None:
        return self.find(path("api", "folders", uid))

    def folders(self) -> list[Json]:
        """The folders at the top."""
        return self._pages("/api/folders")

    def create_folder(self, body: Json) -> Json:
        return self.send("POST", "/api/folders", body)

    # dashboards

    def find_dashboard(self, uid: str) -> Json | None:
        return self.find(path("api", "dashboards", "uid", uid))

    def dashboards(self) -> list[Json]:
        """What the search says of all dashboards: uid, title, folderUid, tags."""
        return self._pages("/api/search", type="dash-db")

    def save_dashboard(self, body: Json) -> None:
        self.send("POST", "/api/dashboards/db", body)

    def delete_dashboard(self, uid: str) -> None:
        self.delete(path("api", "dashboards", "uid", uid))

    # data sources

    def find_data_source(self, uid: str) -> Json | None:
        return self.find(path("api", "datasources", "uid", uid))

    def find_data_source_by_name(self, name: str) -> Json | None:
        # The list doesn't tell which secrets there are.
        held = next((one for one in self.data_sources() if one.get("name") == name), None)
        return None if held is None else self.find_data_source(str(held["uid"]))

    def data_sources(self) -> list[Json]:
        return self.listed("/api/datasources")

    def create_data_source(self, body: Json) -> None:
        self.send("POST", "/api/datasources", body)

    def update_data_source(self, uid: str, body: Json) -> None:
        self.send("PUT", path("api", "datasources", "uid", uid), body)

    def delete_data_source(self, uid: str) -> None:
        self.delete(path("api", "datasources", "uid", uid))

    # alerting: the provisioning API

    def provisions(self, *parts: str) -> bool:
        """Whether the server has that part of the provisioning API, which its successor replaces."""
        try:
            self._ask("GET", path("api", "v1", "provisioning", *parts))
        except RequestError as error:
            if error.status != 404 or error.unreachable:
                raise
            return not _unrouted(error)
        return True

    def find_rule_group(self, folder: str, group: str) -> Json | None:
        return self.find(path("api", "v1", "provisioning", "folder", folder, "rule-groups", group))

    def rules(self) -> list[Json]:
        return self.listed("/api/v1/provisioning/alert-rules")

    def find_rule(self, uid: str) -> Json | None:
        return self.find(path("api", "v1", "provisioning", "alert-rules", uid))

    def write_rule_group(self, folder: str, group: str, body: Json, *, locked: bool) -> None:
        where = path("api", "v1", "provisioning", "folder", folder, "rule-groups", group)
        self.send("PUT", where, body, headers={} if locked else UNLOCKED)

    def create_rule(self, body: Json, *, locked: bool) -> None:
        self.send("POST", "/api/v1/provisioning/alert-rules", body, headers={} if locked else UNLOCKED)

    def delete_rule(self, uid: str) -> None:
        self.delete(path("api", "v1", "provisioning", "alert-rules", uid))

    def integrations(self, name: str | None = None) -> list[Json]:
        """The integrations of all contact points, or of one."""
        found = self.listed("/api/v1/provisioning/contact-points", {} if name is None else {"name": name})
        return [one for one in found if name in (None, one.get("name"))]

    def create_integration(self, body: Json, *, locked: bool) -> Json:
        return self.send("POST", "/api/v1/provisioning/contact-points", body, headers={} if locked else UNLOCKED)

    def update_integration(self, uid: str, body: Json, *, locked: bool) -> None:
        where = path("api", "v1", "provisioning", "contact-points", uid)
        self.send("PUT", where, body, headers={} if locked else UNLOCKED)

    def delete_integration(self, uid: str) -> None:
        self.delete(path("api", "v1", "provisioning", "contact-points", uid))

    def integration_types(self) -> list[Json]:
        """What the server knows of types of integrations, with the names of their secret settings."""
        return self.listed("/api/alert-notifiers")

    def policies(self) -> Json:
        return self.get("/api/v1/provisioning/policies")

    def write_policies(self, body: Json, *, locked: bool) -> None:
        self.send("PUT", "/api/v1/provisioning/policies", body, headers={} if locked else UNLOCKED)

    def reset_policies(self) -> None:
        self.delete("/api/v1/provisioning/policies")

    # what the others are made of

    def get(self, where: str, query: dict[str, str] | None = None) -> Json:
        answer = self._ask("GET", where, query=query)
        if isinstance(answer, dict):
            return answer
        raise self._unexpected("GET", where, answer)

    def listed(self, where: str, query: dict[str, str] | None = None) -> list[Json]:
        answer = self._ask("GET", where, query=query)
        if isinstance(answer, list):
            return answer
        # A list of nothing is null in some versions, and an empty body to our client.
        if not answer:
            return []
        raise self._unexpected("GET", where, answer)

    def send(self, method: str, where: str, body: Json, headers: Mapping[str, str] | None = None) -> Json:
        answer = self._ask(method, where, body=body, headers=headers)
        return answer if isinstance(answer, dict) else {}

    def find(self, where: str) -> Json | None:
        """None where Grafana says that there is no such thing."""
        try:
            return self.get(where)
        except RequestError as error:
            if error.status == 404 and not _no_such_route(error):
                return None
            raise

    def delete(self, where: str) -> None:
        """A repeat of a removal finds nothing, which is what was wanted."""
        try:
            self._ask("DELETE", where, repeat=True)
        except RequestError as error:
            if error.status != 404 or _no_such_route(error):
                raise

    def _ask(self, method: str, where: str, **options: Any) -> Any:
        try:
            return self.http.json(method, where, **options)
        except RequestError as error:
            if error.status == 404 and error.unreachable:
                error.hint = NOT_GRAFANA  # a page says so, or a gateway
            raise

    def _pages(self, where: str, **query: str) -> list[Json]:
        found: list[Json] = []
        for page in range(1, 1000):
            some = self.listed(where, {**query, "limit": str(PAGE), "page": str(page)})
            found += some
            if len(some) < PAGE:
                break
        return found

    def _unexpected(self, method: str, where: str, answer: Any) -> RequestError:
        message = f"the answer is of another form than Grafana's: {str(answer)[:100]!r}"
        return RequestError(method, self.http.address(where), message, hint=NOT_GRAFANA)


def _no_such_route(error: RequestError) -> bool:
    return error.status == 404 and (error.unreachable or _unrouted(error))


def _unrouted(error: RequestError) -> bool:
    # Newer versions say the same of an absent thing, but with a code.
    return error.message == NO_ROUTE and not error.code
