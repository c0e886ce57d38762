# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A cluster's API, raw: paths and plain data, errors in words."""

from __future__ import annotations

import importlib
import json
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from ..errors import WorkloadError
from .client import Client, connect
from .kinds import EVENT, POD, Kind, kind_of
from .site import MANAGER

T = TypeVar("T")
U = TypeVar("U")

TIMEOUT = 30.0  # seconds that one call may take
CONNECT = 10.0  # seconds until a server counts as unreachable
PATIENCE = 90.0  # seconds that a server which has answered before may be away: it is restarted
STARTING = 20.0  # seconds after its return in which it may refuse what it allowed before
PAGE = 500  # objects that one answer of a LIST holds
THREADS = 8
AWAY = (0, 429, 500, 502, 503, 504)


class ApiError(WorkloadError):
    """An answer other than success. ``status`` is HTTP's; 0 means that there was no answer. ``details`` are those of
    Kubernetes' Status, whose ``reason`` this is."""

    def __init__(
        self,
        message: str,
        status: int = 0,
        *,
        reason: str = "",
        text: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.text = text or message
        self.details = dict(details or {})
        super().__init__(message)

    @property
    def away(self) -> bool:
        """Whether the same call may well be answered a little later."""
        return self.status in AWAY

    @property
    def causes(self) -> list[dict[str, str]]:
        return list(self.details.get("causes") or [])


class Api:
    def __init__(self, kubeconfig: str | None = None, context: str | None = None) -> None:
        self.client: Client = connect(kubeconfig or None, context or None)
        self.answered = False
        self.clock = ""
        self.lost = -math.inf  # when a server that had answered before last didn't, by time.monotonic()
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="kubernetes")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.client.pool.clear()

    def each(self, work: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """The work on all items, some of them at a time; what it raises is raised. Work must not call this itself."""
        return list(self._pool.map(work, list(items)))

    def get(self, path: str, **params: Any) -> Any:
        return self._patiently("GET", path, params)

    def find(self, path: str, **params: Any) -> Any:
        """As get; None if there is no such thing."""
        try:
            return self.get(path, **params)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(
        self, kind: Kind, namespace: str | None = None, selector: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """The objects of a kind. Those of a namespace that isn't there are none."""
        params: dict[str, Any] = {"limit": PAGE, "labelSelector": selector, "fieldSelector": fields}
        params = {key: value for key, value in params.items() if value}
        found: list[dict[str, Any]] = []
        while True:
            answer = self.get(kind.path(namespace), **params)
            found += answer.get("items") or []
            more = answer["metadata"].get("continue")
            if not more:
                break
            params["continue"] = more
        for item in found:  # a list's items don't say what they are
            item.setdefault("apiVersion", kind.api)
            item.setdefault("kind", kind.name)
        return found

    def apply(
        self, thing: Mapping[str, Any], *, dry_run: bool = False, force: bool = False
    ) -> tuple[dict[str, Any], bool]:
        """Server-side apply: what the server stores (or would), and whether that is new."""
        meta = thing["metadata"]
        path = kind_of(thing).path(meta.get("namespace"), meta["name"])
        params = {"fieldManager": MANAGER, "force": "true" if force else "false", "fieldValidation": "Strict"}
        if dry_run:
            params["dryRun"] = "All"
        response = self._patiently("PATCH", path, params, thing, "application/apply-patch+yaml", whole=True)
        return json.loads(response.data), response.status == 201

    def create(self, kind: Kind, thing: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        params = {"dryRun": "All"} if dry_run else {}
        path = kind.path(thing["metadata"].get("namespace"))
        found: dict[str, Any] = self._patiently("POST", path, {**params, "fieldManager": MANAGER}, thing)
        return found

    def delete(self, thing: Mapping[str, Any], kind: Kind | None = None, *, grace: int | None = None) -> bool:
        """False if it was gone already, or somebody has put another one of this name in its place."""
        meta = thing["metadata"]
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if meta.get("uid"):
            options["preconditions"] = {"uid": meta["uid"]}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            self._patiently("DELETE", (kind or kind_of(thing)).path(meta.get("namespace"), meta["name"]), {}, options)
        except ApiError as error:
            if error.status in (404, 409):
                return False
            raise
        return True

    def log_lines(self, namespace: str, pod: str, lines: int, *, previous: bool = False) -> list[str]:
        """The last lines that a Pod printed, or its container before the last restart; none if they can't be had."""
        params: dict[str, Any] = {"tailLines": lines, "limitBytes": 64 * 1024}
        if previous:
            params["previous"] = "true"
        try:
            response = self._send("GET", POD.path(namespace, pod, "log"), params, timeout=8.0)
        except ApiError:
            return []
        text: str = response.data.decode("utf-8", "replace")
        return text.splitlines()[-lines:]

    def stamped_log(self, namespace: str, pod: str, since: str, lines: int, most: int) -> str:
        """What a Pod printed behind a time, each line with its own; without one its last lines. At most so many bytes,
        cut at a line's end; none if it can't be had."""
        params: dict[str, Any] = {"timestamps": "true", "limitBytes": most}
        params |= {"sinceTime": since} if since else {"tailLines": lines}
        try:
            response = self._send("GET", POD.path(namespace, pod, "log"), params, timeout=8.0)
        except ApiError:
            return ""
        text: str = response.data.decode("utf-8", "replace")
        return text if len(response.data) < most else text.rpartition("\n")[0]

    def events(self, namespace: str, **about: str) -> list[dict[str, Any]]:
        """What has been told about an object (its kind, name, uid), oldest first; nothing if it can't be had."""
        fields = ",".join(f"involvedObject.{key}={value}" for key, value in about.items())
        try:
            found = self.items(EVENT, namespace, fields=fields)
        except ApiError:
            return []
        return sorted(found, key=event_time)

    def watch(self, kind: Kind, namespace: str, selector: str, seconds: int = 300) -> Iterator[dict[str, Any]]:
        """What changes from now on; ends when the connection does, after ``seconds`` at the latest."""
        begin = self.get(kind.path(namespace), labelSelector=selector, limit=1)
        params = {
            "watch": "true",
            "labelSelector": selector,
            "resourceVersion": begin["metadata"]["resourceVersion"],
            "timeoutSeconds": seconds,
        }
        response = self._send("GET", kind.path(namespace), params, timeout=seconds + TIMEOUT, stream=True)
        rest = b""
        try:
            for chunk in response.stream(2**16):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield json.loads(line)
        except self._broken:
            return
        finally:
            response.close()

    def watch_all(self, kind: Kind, namespaces: Sequence[str], selector: str) -> Iterator[dict[str, Any]]:
        """As watch, of several namespaces at once; ends when the first of the connections does."""
        if len(namespaces) == 1:
            yield from self.watch(kind, namespaces[0], selector)
            return
        found: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()

        def pump(namespace: str) -> None:
            try:
                for event in self.watch(kind, namespace, selector):
                    found.put(event)
                found.put(None)
            except Exception as error:
                found.put(error)

        for namespace in namespaces:
            threading.Thread(target=pump, args=(namespace,), daemon=True, name=f"watch {namespace}").start()
        while True:
            event = found.get()
            if event is None:
                return
            if isinstance(event, BaseException):
                raise event
            yield event

    def _patiently(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        body: Any = None,
        content: str = "application/json",
        *,
        whole: bool = False,
    ) -> Any:
        """Everything here may be repeated: what is made has a name, what is applied or removed stays so."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                response = self._send(method, path, params, body, content)
            except ApiError as error:
                if not self._passing(error) or time.monotonic() > until:
                    raise
                time.sleep(1)
                continue
            if whole:
                return response
            return json.loads(response.data) if response.data else None

    def _passing(self, error: ApiError) -> bool:
        """Whether a server that has answered before may be expected to answer again. One that has just started
        doesn't know anybody's rights for a moment."""
        if not self.answered:
            return False
        if error.away:
            self.lost = time.monotonic()
        return error.away or (error.status in (401, 403) and time.monotonic() - self.lost < STARTING)

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        body: Any = None,
        content: str = "application/json",
        *,
        timeout: float = TIMEOUT,
        stream: bool = False,
    ) -> Any:
        urllib3: Any = importlib.import_module("urllib3")
        url = self.client.server + path + (f"?{urlencode(params)}" if params else "")
        headers = {"Accept": "application/json", "User-Agent": MANAGER, **self.client.authorization()}
        if body is not None:
            headers["Content-Type"] = content
        try:
            response = self.client.pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                preload_content=not stream,
                timeout=urllib3.Timeout(connect=CONNECT, read=timeout),
                retries=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(self._silence(error)) from error
        if response.status >= 300:
            if stream:
                response.read()
            raise self._refusal(method, path, response)
        self.answered = True
        self.clock = str(response.headers.get("Date") or "")
        return response

    def now(self) -> str:
        """The server's clock, to the second, as objects have it."""
        found = parsedate_to_datetime(self.clock) if self.clock else datetime.now(UTC)
        return f"{found:%Y-%m-%dT%H:%M:%SZ}"

    @property
    def _broken(self) -> tuple[type[BaseException], ...]:
        return (importlib.import_module("urllib3").exceptions.HTTPError, OSError)

    def _silence(self, error: BaseException) -> str:
        """Why there is no answer."""
        where = f"the Kubernetes API at {self.client.server} ({self.client.source})"
        text = " ".join(str(error).split())
        if "CERTIFICATE_VERIFY_FAILED" in text or "hostname" in text.lower():
            return f"{where} shows a certificate that the kubeconfig's authority doesn't vouch for: {text}"
        expired = self.client.expiry()
        if expired and "ALERT" in text.upper():
            return f"{where} refuses us: {expired}: get a new kubeconfig"
        return f"No answer from {where}: {text}"

    def _refusal(self, method: str, path: str, response: Any) -> ApiError:
        status = int(response.status)
        try:
            answer = json.loads(response.data)
            text = " ".join(str(answer.get("message") or "").split())
        except (ValueError, AttributeError):
            answer, text = {}, " ".join(response.data.decode("utf-8", "replace").split())[:500]
        reason, details = str(answer.get("reason") or ""), answer.get("details") or {}
        message = f"Kubernetes refused {method} {path} ({status}): {text}"
        if status == 401:
            why = self.client.expiry() or "its token or certificate is not (or no longer) known there"
            message = f"The Kubernetes API at {self.client.server} doesn't know us ({self.client.source}): {why}"
        return ApiError(message, status, reason=reason, text=text, details=details)


def event_time(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def selector(labels: Mapping[str, str | Sequence[str]]) -> str:
    """A label selector: each label has this value, or one of these."""
    parts = []
    for name, value in labels.items():
        parts.append(f"{name}={value}" if isinstance(value, str) else f"{name} in ({','.join(value)})")
    return ",".join(parts)
