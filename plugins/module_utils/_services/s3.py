# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few signed requests to an S3 server (AWS Signature Version 4).

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import time
import urllib.parse
from dataclasses import dataclass
from xml.etree import ElementTree

from .connection import ServiceError, address, connect, secure, tls_context

_LONGEST = 2**24


class S3Error(ServiceError):
    """The server's own refusal; ``about`` is its code, such as NoSuchBucket."""


@dataclass(frozen=True)
class Keys:
    access: str
    secret: str


class Endpoint:
    """Where the server is: ``http(s)://host[:port]``, without a path."""

    def __init__(self, url: str, *, region: str, ca: str, path_style: bool, timeout: float) -> None:
        parts = urllib.parse.urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise ServiceError("endpoint", f"'{url}' has no number for a port") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ServiceError("endpoint", f"'{url}' is not of the form http(s)://host[:port]")
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.host = parts.hostname
        self.is_tls = parts.scheme == "https"
        self.port = port or (443 if self.is_tls else 80)
        self.region = region
        self.path_style = path_style
        self.timeout = timeout
        self._context: ssl.SSLContext | None = tls_context(ca) if self.is_tls else None

    def target(self, bucket: str, key: str) -> tuple[str, str]:
        """Host name and path of an object."""
        path = "/" + urllib.parse.quote(key, safe="/~")
        if self.path_style:
            return self.host, f"/{bucket}{path if key else ''}"
        return f"{bucket}.{self.host}", path

    def request(self, method: str, bucket: str, key: str, keys: Keys, *, query: str = "", body: bytes = b"") -> bytes:
        """The answer's body. ``query`` is sorted and quoted already."""
        host, path = self.target(bucket, key)
        default = 443 if self.is_tls else 80
        header = host if self.port == default else address(host, self.port)
        headers = sign(method, header, path, query, body, keys, self.region, time.time())
        connection = self._connection(host)
        try:
            connection.request(method, f"{path}?{query}" if query else path, body, headers)
            response = connection.getresponse()
            answer = response.read(_LONGEST)
        except (OSError, http.client.HTTPException) as error:
            raise ServiceError("endpoint", f"{self.url} doesn't answer as an S3 server does ({error})") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise _refusal(response.status, answer)
        return answer

    def _connection(self, host: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(host, self.port, timeout=self.timeout)
        plain = connect(host, self.port, self.timeout)
        connection.sock = secure(plain, host, self._context) if self._context else plain
        return connection


def sign(
    method: str,
    host: str,
    path: str,
    query: str,
    body: bytes,
    keys: Keys,
    region: str,
    now: float,
) -> dict[str, str]:
    """The headers of a signed request; ``now`` is in seconds since 1970."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": date}
    names = ";".join(sorted(headers))
    lines = [method, path, query, *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, digest]
    scope = f"{date[:8]}/{region}/s3/aws4_request"
    request_digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", date, scope, request_digest])
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


def _refusal(status: int, answer: bytes) -> S3Error:
    found = {"Code": "", "Message": ""}
    try:
        for element in ElementTree.fromstring(answer):  # noqa: S314  small, and of the site's own server
            found[element.tag.rpartition("}")[2]] = element.text or ""
    except ElementTree.ParseError:
        pass
    return S3Error(found["Code"] or f"HTTP {status}", found["Message"] or f"HTTP {status}")
