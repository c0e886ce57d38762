# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of MLflow's REST API that the modules need, one method each.

Things are looked up by search: to a user without wide permissions, MLflow answers 403 to the name of something that
doesn't exist, and an empty list to a search for it.
"""

from __future__ import annotations

import posixpath
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from .._errors import RequestError
from .._http import HttpClient
from .comparison import quoted

API = "/api/2.0/mlflow"
API3 = "/api/3.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def explain(status: int | None, message: str) -> str:
    """What to do about an answer of MLflow."""
    if status is None:
        if "is not JSON" in message:
            return "Is tracking_uri the address of an MLflow server?"
        return "Is the MLflow server running, and is tracking_uri its address?"
    if status == 401:
        return "MLflow refuses the user name or the password: check username and password."
    if status == 403 and "Host header" in message:
        return "The server's --allowed-hosts must name this host; or set host_header to a name that it takes."
    if status == 403:
        return "The user of this task has no permission for it: grant it, or use another user."
    if status == 404:
        return ""
    if status == 413:
        return "A proxy before MLflow limits the size of a request: raise its limit."
    if status in (301, 302, 307, 308):
        return "Set tracking_uri to the address that it redirects to."
    if status in (502, 503, 504):
        return "MLflow is not ready, or the gateway finds it not: try again when it is healthy."
    if status >= 500:
        return "The cause is in the MLflow server's log."
    return ""


def artifact_path(uri: str) -> str | None:
    """The path at the server's artifact proxy of an ``mlflow-artifacts:`` address, None for any other."""
    parts = urllib.parse.urlsplit(uri)
    return parts.path.strip("/") if parts.scheme == "mlflow-artifacts" else None


class MlflowClient:
    """One MLflow server and one user."""

    def __init__(self, http: HttpClient) -> None:
        self.http = http

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        answer = self.http.json("GET", f"{API}{path}", query=query)
        return self._object("GET", f"{API}{path}", answer)

    def _post(self, path: str, body: dict[str, Any], *, repeat: bool = False, method: str = "POST") -> dict[str, Any]:
        return self._object(method, f"{API}{path}", self.http.json(method, f"{API}{path}", body=body, repeat=repeat))

    def _object(self, method: str, path: str, answer: Any) -> dict[str, Any]:
        if isinstance(answer, dict):
            return answer
        raise RequestError(
            method,
            self.http.address(path),
            f"the answer is no JSON object: {str(answer)[:100]!r}",
            hint="Is tracking_uri the address of an MLflow server?",
        )

    def _part(self, answer: dict[str, Any], key: str, method: str, path: str) -> dict[str, Any]:
        """A part that the API promises; a proxy or another server may not keep that."""
        part = answer.get(key)
        if isinstance(part, dict):
            return part
        raise RequestError(
            method,
            self.http.address(f"{API}{path}"),
            f"the answer lacks {key!r}: {str(answer)[:200]}",
            hint="Is tracking_uri the address of an MLflow server of version 3?",
        )

    def _delete(self, path: str, body: dict[str, Any]) -> None:
        """A repeat of a removal finds nothing, which is what was wanted."""
        try:
            self.http.json("DELETE", f"{API}{path}", body=body, repeat=True)
        except RequestError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise

    # registered models

    def find_registered_model(self, name: str) -> dict[str, Any] | None:
        """The registered model with its latest version, tags and aliases."""
        found = self.search_registered_models(f"name = {quoted(name, 'name')}")
        return next((model for model in found if model.get("name") == name), None)

    def search_registered_models(self, filter_: str = "", limit: int = 0) -> list[dict[str, Any]]:
        return self._pages("/registered-models/search", "registered_models", filter_, 100, limit)

    def create_registered_model(self, name: str, description: str | None, tags: dict[str, str]) -> dict[str, Any]:
        body: dict[str, Any] = {"name": name, "tags": _pairs(tags)}
        if description is not None:
            body["description"] = description
        path = "/registered-models/create"
        return self._part(self._post(path, body), "registered_model", "POST", path)

    def update_registered_model(self, name: str, description: str) -> None:
        self._post("/registered-models/update", {"name": name, "description": description}, method="PATCH", repeat=True)

    def delete_registered_model(self, name: str) -> None:
        self._delete("/registered-models/delete", {"name": name})

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        self._post("/registered-models/set-tag", {"name": name, "key": key, "value": value}, repeat=True)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        self._delete("/registered-models/delete-tag", {"name": name, "key": key})

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self._post("/registered-models/alias", {"name": name, "alias": alias, "version": version}, repeat=True)

    def delete_alias(self, name: str, alias: str) -> None:
        self._delete("/registered-models/alias", {"name": name, "alias": alias})

    # model versions

    def search_model_versions(self, filter_: str = "", limit: int = 0) -> list[dict[str, Any]]:
        return self._pages("/model-versions/search", "model_versions", filter_, 200, limit)

    def find_model_version(self, name: str, version: str) -> dict[str, Any] | None:
        filter_ = f"name = {quoted(name, 'name')} and version_number = {int(version)}"
        return next(iter(self.search_model_versions(filter_)), None)

    def create_model_version(self, body: dict[str, Any]) -> dict[str, Any]:
        path = "/model-versions/create"
        return self._part(self._post(path, body), "model_version", "POST", path)

    def update_model_version(self, name: str, version: str, description: str) -> None:
        body = {"name": name, "version": version, "description": description}
        self._post("/model-versions/update", body, method="PATCH", repeat=True)

    def delete_model_version(self, name: str, version: str) -> None:
        self._delete("/model-versions/delete", {"name": name, "version": version})

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        body = {"name": name, "version": version, "key": key, "value": value}
        self._post("/model-versions/set-tag", body, repeat=True)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        self._delete("/model-versions/delete-tag", {"name": name, "version": version, "key": key})

    def download_uri(self, name: str, version: str) -> str:
        """Where a version's files lie."""
        return str(self._get("/model-versions/get-download-uri", name=name, version=version).get("artifact_uri", ""))

    # experiments, runs, logged models

    def find_experiment(self, name: str) -> dict[str, Any] | None:
        body = {"filter": f"name = {quoted(name, 'experiment')}", "max_results": 10, "view_type": "ALL"}
        found = self._post("/experiments/search", body, repeat=True).get("experiments") or []
        return next((experiment for experiment in found if experiment.get("name") == name), None)

    def experiment_names(self) -> dict[str, str]:
        """The names of all experiments, by id."""
        names: dict[str, str] = {}
        body: dict[str, Any] = {"max_results": 1000, "view_type": "ALL"}
        while True:
            answer = self._post("/experiments/search", body, repeat=True)
            names |= {str(one["experiment_id"]): str(one["name"]) for one in answer.get("experiments") or []}
            if not answer.get("next_page_token"):
                return names
            body["page_token"] = answer["next_page_token"]

    def create_experiment(self, name: str) -> str:
        return str(self._post("/experiments/create", {"name": name}).get("experiment_id", ""))

    def create_run(self, experiment_id: str, name: str, start_ms: int, tags: dict[str, str]) -> dict[str, Any]:
        body = {"experiment_id": experiment_id, "run_name": name, "start_time": start_ms, "tags": _pairs(tags)}
        return self._part(self._post("/runs/create", body), "run", "POST", "/runs/create")

    def get_run(self, run_id: str) -> dict[str, Any]:
        return self._part(self._get("/runs/get", run_id=run_id), "run", "GET", "/runs/get")

    def search_runs(self, experiment_id: str, filter_: str) -> list[dict[str, Any]]:
        body = {
            "experiment_ids": [experiment_id],
            "filter": filter_,
            "max_results": 100,
            "run_view_type": "ACTIVE_ONLY",
        }
        return list(self._post("/runs/search", body, repeat=True).get("runs") or [])

    def log_batch(
        self, run_id: str, metrics: list[dict[str, Any]], params: dict[str, str], tags: dict[str, str]
    ) -> None:
        """Repeating it changes nothing: same step, same time stamp, same value."""
        body = {"run_id": run_id, "metrics": metrics, "params": _pairs(params), "tags": _pairs(tags)}
        self._post("/runs/log-batch", body, repeat=True)

    def log_inputs(self, run_id: str, datasets: list[dict[str, Any]]) -> None:
        self._post("/runs/log-inputs", {"run_id": run_id, "datasets": datasets}, repeat=True)

    def log_output(self, run_id: str, model_id: str) -> None:
        self._post("/runs/outputs", {"run_id": run_id, "models": [{"model_id": model_id, "step": 0}]}, repeat=True)

    def finish_run(self, run_id: str, end_ms: int) -> None:
        self._post("/runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": end_ms}, repeat=True)

    def delete_run(self, run_id: str) -> None:
        self._post("/runs/delete", {"run_id": run_id}, repeat=True)

    def create_logged_model(
        self, experiment_id: str, name: str, run_id: str, params: dict[str, str], tags: dict[str, str]
    ) -> dict[str, Any]:
        body = {
            "experiment_id": experiment_id,
            "name": name,
            "source_run_id": run_id,
            "params": _pairs(params),
            "tags": _pairs(tags),
        }
        path = "/logged-models"
        return self._part(self._part(self._post(path, body), "model", "POST", path), "info", "POST", path)

    def log_logged_model_params(self, model_id: str, params: dict[str, str]) -> None:
        self._post(f"/logged-models/{model_id}/params", {"model_id": model_id, "params": _pairs(params)}, repeat=True)

    def get_logged_model(self, model_id: str) -> dict[str, Any]:
        path = f"/logged-models/{urllib.parse.quote(model_id)}"
        return self._part(self._part(self._get(path), "model", "GET", path), "info", "GET", path)

    def search_logged_models(self, experiment_id: str, filter_: str) -> list[dict[str, Any]]:
        body = {"experiment_ids": [experiment_id], "filter": filter_, "max_results": 50}
        found = self._post("/logged-models/search", body, repeat=True).get("models") or []
        return [dict(model.get("info") or {}) for model in found]

    def finish_logged_model(self, model_id: str) -> None:
        body = {"model_id": model_id, "status": "LOGGED_MODEL_READY"}
        self._post(f"/logged-models/{model_id}", body, method="PATCH", repeat=True)

    def delete_logged_model(self, model_id: str) -> None:
        self._delete(f"/logged-models/{model_id}", {"model_id": model_id})

    # artifacts, through the server's proxy

    def upload(self, path: str, open_source: Callable[[], BinaryIO], size: int) -> None:
        self.http.upload(f"{ARTIFACTS}/{urllib.parse.quote(path)}", open_source, size)

    def download(self, path: str, size: int = 0) -> AbstractContextManager[Iterator[bytes]]:
        return self.http.download(f"{ARTIFACTS}/{urllib.parse.quote(path)}", size)

    def list_artifacts(self, path: str) -> dict[str, int]:
        """The files below a path, by their path relative to it, with their sizes in bytes."""
        found: dict[str, int] = {}
        pending = [""]
        while pending:
            directory = pending.pop()
            asked = posixpath.join(path, directory) if directory else path
            answer = self.http.json("GET", ARTIFACTS, query={"path": asked})
            for entry in self._object("GET", ARTIFACTS, answer).get("files") or []:
                name = posixpath.join(directory, posixpath.basename(str(entry["path"]).rstrip("/")))
                if entry.get("is_dir"):
                    pending.append(name)
                else:
                    found[name] = int(entry.get("file_size") or 0)
        return found

    # users and permissions

    def list_users(self) -> list[dict[str, Any]]:
        """All users, each with its roles and their permissions."""
        return list(self._get("/users/list").get("users") or [])

    def current_user(self) -> dict[str, Any]:
        return self._part(self._get("/users/current"), "user", "GET", "/users/current")

    def create_user(self, username: str, password: str) -> dict[str, Any]:
        path = "/users/create"
        return self._part(self._post(path, {"username": username, "password": password}), "user", "POST", path)

    def update_password(self, username: str, password: str, current_password: str | None = None) -> None:
        body = {"username": username, "password": password}
        if current_password is not None:
            body["current_password"] = current_password
        self._post("/users/update-password", body, method="PATCH")

    def update_admin(self, username: str, is_admin: bool) -> None:
        body = {"username": username, "is_admin": is_admin}
        self._post("/users/update-admin", body, method="PATCH", repeat=True)

    def delete_user(self, username: str) -> None:
        self._delete("/users/delete", {"username": username})

    def grant(self, username: str, resource_type: str, resource_id: str, permission: str) -> None:
        body = {
            "username": username,
            "resource_type": resource_type,
            "resource_id": resource_id,
            "permission": permission,
        }
        try:
            self.http.json("POST", f"{API3}/users/permissions/grant", body=body, repeat=True)
        except RequestError as error:
            if error.code != "RESOURCE_ALREADY_EXISTS":
                raise

    def change_grant(self, role_permission_id: int, permission: str) -> None:
        body = {"role_permission_id": role_permission_id, "permission": permission}
        self.http.json("PATCH", f"{API3}/roles/permissions/update", body=body, repeat=True)

    def revoke(self, username: str, resource_type: str, resource_id: str) -> None:
        body = {"username": username, "resource_type": resource_type, "resource_id": resource_id}
        try:
            self.http.json("POST", f"{API3}/users/permissions/revoke", body=body, repeat=True)
        except RequestError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def _pages(self, path: str, key: str, filter_: str, size: int, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        query = {"max_results": str(min(size, limit) if limit else size)}
        if filter_:
            query["filter"] = filter_
        while True:
            answer = self._get(path, **query)
            found += answer.get(key) or []
            token = answer.get("next_page_token")
            if not token or (limit and len(found) >= limit):
                return found[:limit] if limit else found
            query["page_token"] = str(token)


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def unpaired(pairs: list[dict[str, str]] | None) -> dict[str, str]:
    """MLflow's lists of keys and values as a dict."""
    return {pair["key"]: pair.get("value", "") for pair in pairs or []}
