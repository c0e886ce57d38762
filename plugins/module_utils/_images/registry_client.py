# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this collection asks of a registry over HTTP: is it there, and which digest has a tag."""

from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message

from .errors import ImagesError
from .reference import Reference, is_loopback

MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class RegistryUnreachableError(ImagesError):
    """Nothing answers at the address, or what answers isn't a registry."""


@dataclass
class RegistryClient:
    """One registry. *ca* is PEM text that is trusted beside the system's; loopback addresses speak plain HTTP."""

    address: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    timeout: float = 10.0
    _tokens: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        host = self.address.partition("/")[0]
        if host == "docker.io":
            host = "registry-1.docker.io"
        return f"{'http' if is_loopback(self.address) else 'https'}://{host}"

    def ping(self) -> int:
        """Status of the API's root: 200, or 401 where it wants credentials; raises where no registry answers."""
        return self._request("GET", "/v2/")[0]

    def check(self) -> None:
        """Whether it answers and takes our credentials; raises where not."""
        status, dummy, body = self._authorised("GET", "/v2/")
        if status != 200:
            raise ImagesError(f"GET {self.url}/v2/: status {status}: {_message(body)}")

    def digest(self, reference: Reference) -> str | None:
        """The manifest's digest, None where the registry doesn't have it."""
        path = f"/v2/{reference.repository}/manifests/{reference.digest or reference.tag}"
        status, headers, body = self._authorised("HEAD", path)
        if status == 404:
            return None
        if status != 200:
            raise ImagesError(f"HEAD {self.url}{path}: status {status}: {_message(body)}")
        return headers.get("docker-content-digest")

    def _authorised(self, method: str, path: str) -> tuple[int, Mapping[str, str], bytes]:
        status, headers, body = self._request(method, path)
        if status != 401:
            return status, headers, body
        challenge = headers.get("www-authenticate", "")
        if challenge.lower().startswith("bearer"):
            status, headers, body = self._request(method, path, f"Bearer {self._token(challenge)}")
        if status == 401:
            whom = f"the user {self.username}" if self.username else "to answer without a user"
            raise ImagesError(
                f"the registry {self.address} refuses {whom}: set registry_username and the secret registry_password"
            )
        return status, headers, body

    def _token(self, challenge: str) -> str:
        values = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = values.pop("realm", "")
        if not realm.startswith("https://") and not is_loopback(urllib.parse.urlsplit(realm).netloc):
            raise ImagesError(
                f"the registry {self.address} sends its clients for a token to {realm!r}, which isn't https"
            )
        query = urllib.parse.urlencode(values)
        if query not in self._tokens:
            status, dummy, body = self._open("GET", f"{realm}?{query}", self._basic())
            if status != 200:
                raise ImagesError(f"GET {realm}: status {status}: {_message(body)}")
            answer = json.loads(body)
            self._tokens[query] = answer.get("token") or answer["access_token"]
        return self._tokens[query]

    def _basic(self) -> str | None:
        if not self.username:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def _request(
        self, method: str, path: str, authorization: str | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        return self._open(method, self.url + path, authorization or self._basic())

    def _open(self, method: str, url: str, authorization: str | None) -> tuple[int, Mapping[str, str], bytes]:
        request = urllib.request.Request(url, method=method, headers={"Accept": MANIFEST_TYPES})  # noqa: S310
        if authorization:
            request.add_unredirected_header("Authorization", authorization)
        handlers: list[urllib.request.BaseHandler] = []
        if url.startswith("https://"):
            context = ssl.create_default_context()
            if self.ca:
                context.load_verify_locations(cadata=self.ca)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        if is_loopback(urllib.parse.urlsplit(url).netloc):
            handlers.append(urllib.request.ProxyHandler({}))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=self.timeout) as response:
                return response.status, _lower(response.headers), response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _lower(error.headers), error.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise RegistryUnreachableError(
                f"the registry at {url.split('/v2/')[0]} doesn't answer: {reason}"
            ) from error


def _lower(headers: Message[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _message(body: bytes) -> str:
    try:
        errors = json.loads(body)["errors"]
        return "; ".join(str(error.get("message", error)) for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:200].decode(errors="replace") or "(no message)"
