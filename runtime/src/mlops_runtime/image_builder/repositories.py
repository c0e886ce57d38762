# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The site's image registry, by its HTTP API: https://github.com/opencontainers/distribution-spec.

What is made lies in the repository of what it is made from, so that what both have isn't copied.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import oras.auth
import oras.container
import oras.provider
import requests

from mlops_runtime.image_builder.errors import BuildError
from mlops_runtime.image_builder.images import LAYER_TYPES, digest_of, to_bytes
from mlops_runtime.image_builder.layers import Layer
from mlops_runtime.image_builder.settings import ImageRegistry

_SECONDS: Final = 30.0
logging.getLogger("oras.logger").setLevel(logging.ERROR)


class Repositories:
    """The site's image registry."""

    def __init__(self, registry: ImageRegistry, authorities: Path) -> None:
        self._registry = registry
        self._authorities = str(authorities)
        self._client: oras.provider.Registry | None = None

    def manifest(self, reference: str) -> dict[str, Any] | None:
        """Of an image by digest or tag; None where the registry doesn't have it. Raises BuildError."""
        container = self._container(reference)
        url = self._url(container.manifest_url())
        answer = self._ask(url, headers={"Accept": ", ".join(LAYER_TYPES)})
        if answer.status_code == 404:
            return None
        found = self._json(answer, reference)
        if found.get("mediaType") not in LAYER_TYPES:
            raise BuildError(f"{reference} is no image of one platform, but {str(found.get('mediaType'))[:80]}")
        return found

    def config(self, reference: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """An image's configuration. Raises BuildError."""
        container = self._container(reference)
        answer = self._ask(self._url(container.get_blob_url(manifest["config"]["digest"])))
        return self._json(answer, reference)

    def digest(self, reference: str) -> str:
        """The digest that a tag stands for; empty where there is none. Raises BuildError."""
        url = self._url(self._container(reference).manifest_url())
        answer = self._ask(url, "HEAD", headers={"Accept": ", ".join(LAYER_TYPES)})
        if answer.status_code == 404:
            return ""
        self._check(answer, reference)
        return str(answer.headers.get("docker-content-digest", ""))

    def push(self, reference: str, layers: list[Layer], config: dict[str, Any], manifest: dict[str, Any]) -> str:
        """Layers, configuration and then the manifest, which names both; the image's digest. Raises BuildError."""
        container = self._container(reference)
        try:
            for layer in layers:
                self._put_layer(container, layer, reference)
            body = to_bytes(config)
            manifest["config"] |= {"digest": digest_of(body), "size": len(body)}
            self._put_config(container, body, reference)
        except (requests.RequestException, ValueError, OSError) as error:
            self._client = None
            raise BuildError(f"the image registry doesn't take it: {type(error).__name__}") from error
        body = to_bytes(manifest)
        headers = {"Content-Type": manifest["mediaType"]}
        self._check(self._ask(self._url(container.manifest_url()), "PUT", data=body, headers=headers), reference)
        return digest_of(body)

    def _put_layer(self, container: oras.container.Container, layer: Layer, reference: str) -> None:
        client, described = self._connect(), {"digest": layer.digest, "size": layer.size}
        if client.blob_exists(described, container):
            return
        if isinstance(client.auth, oras.auth.TokenAuth):
            # The one that it has may be for reading alone; with none it asks for the one that is needed.
            client.auth.token = None
        self._check(client.chunked_upload(str(layer.path), container, described), reference)

    def _put_config(self, container: oras.container.Container, body: bytes, reference: str) -> None:
        began = self._ask(self._url(container.upload_blob_url()), "POST")
        self._check(began, reference)
        place = requests.compat.urljoin(began.url, began.headers.get("location", ""))
        url = f"{place}{'&' if '?' in place else '?'}digest={digest_of(body)}"
        headers = {"Content-Type": "application/octet-stream"}
        self._check(self._ask(url, "PUT", data=body, headers=headers), reference)

    def _container(self, reference: str) -> oras.container.Container:
        """Raises BuildError for an image of another registry: the credentials are for this one."""
        if not reference.startswith(f"{self._registry.address}/"):
            raise BuildError(f"{reference[:200]} isn't in the site's registry {self._registry.address}")
        try:
            return oras.container.Container(reference)
        except ValueError as error:
            raise BuildError(f"{reference[:200]} is no reference of an image") from error

    def _url(self, path: str) -> str:
        return f"{'http' if self._registry.plain_http else 'https'}://{path}"

    def _connect(self) -> oras.provider.Registry:
        """The client, with the way to log in that the registry asks for."""
        if self._client is None:
            host = self._registry.address.partition("/")[0]
            asked = requests.get(self._url(f"{host}/v2/"), verify=self._authorities, timeout=_SECONDS)
            bearer = asked.headers.get("www-authenticate", "").lower().startswith("bearer")
            client = oras.provider.Registry(
                host,
                insecure=self._registry.plain_http,
                tls_verify=self._authorities,
                auth_backend="token" if bearer or not self._registry.username else "basic",
            )
            if self._registry.username:
                client.auth.set_basic_auth(self._registry.username, self._registry.password)
                if not bearer:
                    # At once: a registry that says no first ends the connection while a layer is on its way.
                    client.session.auth = (self._registry.username, self._registry.password)
            self._client = client
        return self._client

    def _ask(self, url: str, method: str = "GET", **more: Any) -> requests.Response:
        try:
            answer: requests.Response = self._connect().do_request(url, method, **more)
        except (requests.RequestException, ValueError) as error:
            self._client = None
            raise BuildError(f"the image registry doesn't answer: {type(error).__name__}") from error
        return answer

    def _check(self, answer: requests.Response, what: str) -> None:
        if not 200 <= answer.status_code < 300:
            raise BuildError(f"the image registry says {answer.status_code} for {what}: {answer.text[:200]}")

    def _json(self, answer: requests.Response, what: str) -> dict[str, Any]:
        self._check(answer, what)
        try:
            found = answer.json()
        except ValueError as error:
            raise BuildError(f"the image registry answers with no JSON for {what}") from error
        return dict(found)
