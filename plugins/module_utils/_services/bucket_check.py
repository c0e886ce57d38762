# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be right with the site's own object store; each problem names the variable that it is about."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .connection import ServiceError
from .s3 import Endpoint, Keys, S3Error

PROBE_SIZE = 2**16


@dataclass(frozen=True)
class Bucket:
    """A bucket that a component uses, and with which keys."""

    component: str
    key: str
    name: str
    keys: Keys
    access_secret: str
    secret_secret: str

    @property
    def variable(self) -> str:
        return f"mlops_object_store_buckets.{self.key}"


class BucketCheck:
    """:param make: whether the platform may make buckets that are missing.
    :param installed: components that run already: their buckets must not be empty.
    """

    def __init__(self, endpoint: Endpoint, *, make: bool, installed: Sequence[str] = ()) -> None:
        self.endpoint = endpoint
        self.make = make
        self.installed = installed
        self.problems: list[str] = []

    def look(self, buckets: Sequence[Bucket]) -> None:
        empty = []
        try:
            for bucket in buckets:
                if not self._has_keys(bucket):
                    continue
                is_empty = self._is_empty(bucket)
                if is_empty is not None:
                    self._round_trip(bucket)
                    if is_empty and bucket.component in self.installed:
                        empty.append(bucket.name)
        except ServiceError as error:
            self.problems.append(f"{variable_of(error)}: {error.message}")
        if empty:
            self.problems.append(
                f"mlops_object_store_provider: the platform runs already, and its objects are not in "
                f"{self.endpoint.url} (nothing in {', '.join(empty)}). They don't move by themselves: copy them first, "
                "or set mlops_data_moved: [object_store] to begin without them"
            )

    def _has_keys(self, bucket: Bucket) -> bool:
        given = {bucket.access_secret: bucket.keys.access, bucket.secret_secret: bucket.keys.secret}
        for name, value in given.items():
            if not value:
                self.problems.append(
                    f"mlops_secrets.{name}: a key to {bucket.name} at {self.endpoint.url} is not given: set it"
                )
            elif value.split() != [value]:
                self.problems.append(f"mlops_secrets.{name}: has white space in it: set the key alone")
        return all(value.split() == [value] for value in given.values())

    def _is_empty(self, bucket: Bucket) -> bool | None:
        """None where the bucket can't be used, or isn't there yet."""
        done, answer = self._try(bucket, "list objects", "GET", "", query="list-type=2&max-keys=1")
        return b"<Contents>" not in answer if done else None

    def _round_trip(self, bucket: Bucket) -> None:
        """What is stored must be what is read: some servers have stored a client's framing with the content."""
        content = secrets.token_bytes(PROBE_SIZE)
        key = f".mlops-probe-{secrets.token_hex(8)}"
        stored, dummy = self._try(bucket, "write objects", "PUT", key, body=content)
        if not stored:
            return
        read, answer = self._try(bucket, "read objects", "GET", key)
        if read and hashlib.sha256(answer).digest() != hashlib.sha256(content).digest():
            self.problems.append(
                f"mlops_object_store_endpoint: what {self.endpoint.url} gives back is not what was stored in "
                f"{bucket.name} ({len(answer)} bytes of {len(content)})"
            )
        self._try(bucket, "remove objects", "DELETE", key)

    def _try(self, bucket: Bucket, what: str, method: str, key: str, **options: Any) -> tuple[bool, bytes]:
        try:
            return True, self.endpoint.request(method, bucket.name, key, bucket.keys, **options)
        except S3Error as error:
            if error.about != "NoSuchBucket" or not self.make:
                text = EXPLANATIONS.get(error.about, OTHERWISE)
                self.problems.append(text.format(bucket=bucket, endpoint=self.endpoint, error=error, what=what))
        return False, b""


EXPLANATIONS = {
    "NoSuchBucket": (
        "{bucket.variable}: {endpoint.url} has no bucket {bucket.name}: make it, or set "
        "mlops_object_store_make_buckets: true"
    ),
    "InvalidAccessKeyId": "mlops_secrets.{bucket.access_secret}: {endpoint.url} doesn't know this key",
    "SignatureDoesNotMatch": (
        "mlops_secrets.{bucket.secret_secret}: {endpoint.url} refuses the signature: it isn't the secret key of "
        "mlops_secrets.{bucket.access_secret}"
    ),
    "RequestTimeTooSkewed": (
        "mlops_object_store_endpoint: the clocks of this host and of {endpoint.url} differ too much: set them right"
    ),
    "AuthorizationHeaderMalformed": (
        "mlops_object_store_region: {endpoint.url} isn't in {endpoint.region}: {error.message}"
    ),
    "PermanentRedirect": (
        "mlops_object_store_endpoint: {bucket.name} is at another address than {endpoint.url}: {error.message}"
    ),
    "AccessDenied": (
        "{bucket.variable}: the key in mlops_secrets.{bucket.access_secret} may not {what} in {bucket.name} at "
        "{endpoint.url} ({error.message})"
    ),
}
EXPLANATIONS["HTTP 403"] = EXPLANATIONS["AccessDenied"]
OTHERWISE = (
    "mlops_object_store_endpoint: {endpoint.url} refuses to {what} in {bucket.name}: {error.about}: {error.message}"
)


def variable_of(error: ServiceError) -> str:
    return "mlops_object_store_ca" if error.about == "ca" else "mlops_object_store_endpoint"
