# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who we are for a cluster's API, and the connections to it, from a kubeconfig or from inside a Pod.

The package `kubernetes` reads the configuration (certificates, tokens, exec plug-ins, OIDC) and brings the transport.
"""

from __future__ import annotations

import base64
import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import WorkloadError

IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
_LOCK = threading.Lock()
_LOADED: list[_Package] = []


@dataclass(frozen=True)
class _Package:
    """What is needed of the package `kubernetes`."""

    configuration: Any
    transport: Any
    kube_config: Any
    in_cluster: Any
    error: type[Exception]


@dataclass(frozen=True)
class Client:
    """``pool`` is urllib3's; ``source`` says where the configuration comes from."""

    configuration: Any
    pool: Any
    source: str

    @property
    def server(self) -> str:
        return str(self.configuration.host)

    def authorization(self) -> dict[str, str]:
        """Asks an exec plug-in or reads a token's file again where the one that is known has run out."""
        token = self.configuration.get_api_key_with_prefix("authorization")
        return {"Authorization": str(token)} if token else {}

    def expiry(self) -> str | None:
        """What has run out of that by which we are known, in words."""
        certificate = self.configuration.cert_file
        end = certificate_end(Path(certificate)) if certificate else None
        if end is not None and end < datetime.now(UTC):
            return f"its client certificate expired on {end:%Y-%m-%d %H:%M} UTC"
        end = token_end(str(self.configuration.api_key.get("authorization") or ""))
        if end is not None and end < datetime.now(UTC):
            return f"its token expired on {end:%Y-%m-%d %H:%M} UTC"
        return None


def connect(kubeconfig: str | None = None, context: str | None = None) -> Client:
    """``kubeconfig`` as in KUBECONFIG, which counts if none is given; then ~/.kube/config, then the Pod's own token."""
    package = _package()
    # Made by `type`, as the package does itself: a configuration of our own, whatever the default is.
    configuration = type.__call__(package.configuration)
    files = kubeconfig or os.environ.get("KUBECONFIG") or ""
    default = Path("~/.kube/config").expanduser()
    if not files and default.exists():
        files = str(default)
    if not files:
        return _from_pod(package, configuration)
    source = f"kubeconfig {files}"
    paths = [Path(path).expanduser() for path in files.split(os.pathsep) if path]
    if not any(path.exists() for path in paths):
        raise WorkloadError(f"There is no {source}: set mlops_kubeconfig to the path of one on the host that runs this")
    try:
        for path in paths:
            if path.exists():
                path.read_bytes()
        loader = package.kube_config._get_kube_config_loader(
            filename=files, active_context=context or None, persist_config=True
        )
        loader.load_and_set(configuration)
    except OSError as error:
        raise WorkloadError(f"The {source} can't be read: {error.strerror}: {error.filename}") from error
    except (package.error, ValueError, TypeError, AttributeError, KeyError) as error:
        raise WorkloadError(_config_problem(package, files, context, source, error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] == "yaml":
            raise WorkloadError(f"The {source} is no YAML: {' '.join(str(error).split())}") from error
        raise
    named = f"{source}, context {loader.current_context['name']}"
    return Client(configuration, _pool(package, configuration, named), named)


def _from_pod(package: _Package, configuration: Any) -> Client:
    if not os.environ.get(IN_CLUSTER):
        raise WorkloadError(
            "There is no kubeconfig: set mlops_kubeconfig (or KUBECONFIG), or put one at ~/.kube/config, "
            "on the host that runs this"
        )
    try:
        package.in_cluster.load_incluster_config(configuration)
    except package.error as error:
        raise WorkloadError(f"The Pod has no access to the cluster's API: {error}") from error
    source = "the Pod's ServiceAccount"
    return Client(configuration, _pool(package, configuration, source), source)


def _pool(package: _Package, configuration: Any, source: str) -> Any:
    configuration.connection_pool_maxsize = max(16, int(configuration.connection_pool_maxsize or 0))
    if not configuration.verify_ssl:
        importlib.import_module("urllib3").disable_warnings()
    try:
        return package.transport.RESTClientObject(configuration).pool_manager
    except OSError as error:
        raise WorkloadError(f"{source}: its certificates can't be read: {error}") from error


def _config_problem(package: _Package, files: str, context: str | None, source: str, error: Exception) -> str:
    """A context that isn't there is the usual mistake; the others are told in the package's words."""
    try:
        config = package.kube_config.KubeConfigMerger(files).config
        known = sorted(str(item["name"]) for item in config.safe_get("contexts") or [])
        wanted = context or config.safe_get("current-context")
    except Exception:
        return f"The {source} is no kubeconfig: {error}"
    names = ", ".join(known) or "none"
    if not wanted:
        return f"The {source} has no current context: set mlops_kube_context to one of these: {names}"
    if wanted not in known:
        return f"The {source} has no context {wanted!r} (known: {names}): set mlops_kube_context"
    return f"The {source}, context {wanted}: {error}"


def certificate_end(path: Path) -> datetime | None:
    """When a certificate (X.509, PEM; RFC 5280) ends; None if it can't be told."""
    try:
        text = path.read_text().partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
        return _not_after(base64.b64decode(text))
    except (OSError, ValueError, IndexError):
        return None


def _not_after(der: bytes) -> datetime:
    """Certificate > tbsCertificate > [version] serial signature issuer validity: notBefore, notAfter."""
    at = _content(der, _content(der, 0))
    if der[at] == 0xA0:
        at = _next(der, at)
    for _field in ("serialNumber", "signature", "issuer"):
        at = _next(der, at)
    at = _next(der, _content(der, at))
    text = der[_content(der, at) : _next(der, at)].decode("ascii")
    pattern = "%y%m%d%H%M%SZ" if der[at] == 0x17 else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text, pattern).replace(tzinfo=UTC)


def _content(der: bytes, at: int) -> int:
    """Where the content of the element at this place begins."""
    return at + 2 + (der[at + 1] & 0x7F if der[at + 1] & 0x80 else 0)


def _next(der: bytes, at: int) -> int:
    begin = _content(der, at)
    return begin + (int.from_bytes(der[at + 2 : begin], "big") if der[at + 1] & 0x80 else der[at + 1])


def token_end(token: str) -> datetime | None:
    """When a token ends that says so itself (a JWT)."""
    parts = token.split()[-1].split(".") if token.split() else []
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _package() -> _Package:
    with _LOCK:
        if not _LOADED:
            try:
                _LOADED.append(_load())
            except ImportError as error:
                raise WorkloadError(
                    f"Python's kubernetes package is missing ({error}): install it for this interpreter"
                ) from error
        return _LOADED[0]


def _load() -> _Package:
    """The package's own __init__ loads a class for each kind of object that Kubernetes has, which takes two seconds.
    Here its rooms are entered without it; what is left in sys.modules afterwards is what was there before."""
    before = {name: module for name, module in sys.modules.items() if _of_package(name)}
    if before:
        return _rooms()
    try:
        _hollow("kubernetes", None)
        _hollow("kubernetes.client", sys.modules["kubernetes"].__path__)
        client: Any = sys.modules["kubernetes.client"]
        client.Configuration = importlib.import_module("kubernetes.client.configuration").Configuration
        client.ApiClient = None  # kube_config has a function that would make one; it isn't called here
        return _rooms()
    except AttributeError:  # another version, built otherwise
        _forget()
        return _rooms()
    finally:
        _forget()


def _rooms() -> _Package:
    return _Package(
        importlib.import_module("kubernetes.client.configuration").Configuration,
        importlib.import_module("kubernetes.client.rest"),
        importlib.import_module("kubernetes.config.kube_config"),
        importlib.import_module("kubernetes.config.incluster_config"),
        importlib.import_module("kubernetes.config.config_exception").ConfigException,
    )


def _hollow(name: str, path: Any) -> None:
    """The package as a module, without what its __init__ does."""
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    if spec is None:
        raise ImportError(f"No module named {name!r}")
    sys.modules[name] = importlib.util.module_from_spec(spec)


def _forget() -> None:
    for name in [name for name in sys.modules if _of_package(name)]:
        del sys.modules[name]


def _of_package(name: str) -> bool:
    return name.partition(".")[0] == "kubernetes"
