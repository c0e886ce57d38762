# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes one image on the build host: from its recipe or from upstream, and into the site's registry."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._docker.packages import install
from .._errors import InputError
from .arguments import registry_client
from .docker_cli import DockerCli, Login, find_buildkit
from .errors import ImagesError
from .mirrors import SUITE, Mirrors, host_environment
from .plan import pull_key
from .recipe import EPOCH
from .reference import Reference
from .registry_client import RegistryClient, RegistryUnreachableError
from .rootfs import KEYRING, mmdebstrap, packages

KEY_LABEL = "mlops.image.key"
# Repository of the root file system, for as long as the base image isn't made of it.
_ROOTFS = "mlops-rootfs"


@dataclass(frozen=True)
class Job:
    """What the control host worked out. Paths are the build host's."""

    name: str
    how: str
    repository: str
    key: str
    version: str
    licence: str
    context: Path | None
    arguments: Mapping[str, str]
    bases: tuple[str, ...]
    """References that the Dockerfile starts from."""
    rootfs: Mapping[str, str] | None
    """Of the base image alone: packages (text) to make it from, or from, an image of the site's."""
    upstream: str | None
    upstream_digest: str | None
    upstream_key: str
    registry: RegistryClient
    mirrors: Mirrors
    docker_host: str
    network: str
    push: bool
    rebuild: bool
    log: Path
    timeout: float

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Job:
        job = parameters["job"]
        return cls(
            name=parameters["name"],
            how=job["how"],
            repository=job["repository"],
            key=job["key"],
            version=job["version"],
            licence=job["licence"],
            context=Path(job["context"]) if job["context"] else None,
            arguments=job["arguments"],
            bases=tuple(job["bases"]),
            rootfs=job["rootfs"],
            upstream=job["upstream"],
            upstream_digest=job["upstream_digest"],
            upstream_key=job["upstream_key"],
            registry=registry_client(parameters["registry"]),
            mirrors=Mirrors(**parameters["mirrors"]),
            docker_host=parameters["docker_host"],
            network=parameters["network"],
            push=parameters["push"],
            rebuild=parameters["rebuild"],
            log=Path(parameters["log_dir"]) / f"{parameters['name']}-{job['key'] or 'pull'}.log",
            timeout=float(parameters["timeout"]),
        )

    @property
    def login(self) -> Login | None:
        if not self.registry.username:
            return None
        return Login(self.registry.address, self.registry.username, self.registry.password)


@dataclass(frozen=True)
class Made:
    changed: bool
    did: str
    """present, pushed, built or pulled."""
    reference: str
    digest: str | None = None
    upstream_digest: str | None = None


def make(job: Job, *, check: bool) -> Made:
    tag = f"{job.repository}:{job.key}"
    if job.push and not job.rebuild and job.key and (digest := _digest(job, tag, check)):
        return Made(False, "present", f"{job.repository}@{digest}", digest, job.upstream_digest)
    if check:
        return Made(True, "pulled" if job.how == "pull" else "built", tag)
    command = _tools(job)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    job.log.write_text("")
    cli = DockerCli(command, job.log, job.docker_host, job.login, job.timeout)
    mirrors = job.mirrors.filled_from_host(host_environment())
    upstream_digest = job.upstream_digest
    did = "pushed"
    if job.rebuild or not job.key or not cli.exists(tag):
        if job.how == "pull":
            tag, upstream_digest = _pull(job, cli, mirrors)
            did = "pulled"
        else:
            _build(job, cli, mirrors, tag)
            did = "built"
    elif not job.push:
        return Made(False, "present", tag, None, upstream_digest)
    if not job.push:
        return Made(True, did, tag, None, upstream_digest)
    cli.push(tag)
    digest = job.registry.digest(Reference.parse(tag))
    if digest is None:
        raise ImagesError(f"{tag} was pushed, but the registry doesn't have it")
    return Made(True, did, f"{job.repository}@{digest}", digest, upstream_digest)


def _tools(job: Job) -> str:
    """The docker command line to build with; installs what this host lacks for this job."""
    lacking = []
    if find_buildkit() is None:
        lacking.append("docker-buildx")
    if job.rootfs is not None and not job.rootfs["from"]:
        if shutil.which("mmdebstrap") is None:
            lacking.append("mmdebstrap")
        if not KEYRING.is_file():
            lacking.append("debian-archive-keyring")
    if lacking:
        try:
            install(lacking)
        except InputError as error:
            raise ImagesError(f"this host lacks {', '.join(lacking)} to build with: {error}") from error
    command = find_buildkit()
    if command is None:
        raise ImagesError(
            "no docker command line with BuildKit is on this host: install docker below 23, or its buildx plug-in"
        )
    return command


def _digest(job: Job, tag: str, check: bool) -> str | None:
    """What the registry has; in check mode there may be no registry yet."""
    try:
        return job.registry.digest(Reference.parse(tag))
    except RegistryUnreachableError:
        if check:
            return None
        raise


def _labels(job: Job, key: str) -> dict[str, str]:
    return {
        KEY_LABEL: key,
        "org.opencontainers.image.title": job.name,
        "org.opencontainers.image.version": job.version,
        "org.opencontainers.image.licenses": job.licence,
    }


def _build(job: Job, cli: DockerCli, mirrors: Mirrors, tag: str) -> None:
    arguments = dict(job.arguments)
    # By docker pull, not by the build: BuildKit knows only the CAs that were there when the engine started.
    for base in job.bases:
        if not cli.exists(base):
            cli.pull(base)
    rootfs = None
    if job.rootfs is not None:
        rootfs = arguments["ROOTFS"] = _rootfs(job, cli, mirrors)
    _docker_build(job, cli, mirrors, tag, arguments, job.key)
    if rootfs is not None and rootfs.startswith(f"{_ROOTFS}:"):
        cli.remove(rootfs)


def _rootfs(job: Job, cli: DockerCli, mirrors: Mirrors) -> str:
    """Reference of what the base image starts from."""
    if job.rootfs is None:
        raise AssertionError("job.rootfs")
    if job.rootfs["from"]:
        cli.pull(job.rootfs["from"])
        return job.rootfs["from"]
    tag = f"{_ROOTFS}:{job.key}"
    with tempfile.TemporaryDirectory(prefix="mlops-rootfs-") as folder:
        sources = Path(folder) / "sources.list"
        sources.write_text(mirrors.apt_sources)
        ca_bundle = None
        if job.mirrors.ca_bundle:
            ca_bundle = Path(folder) / "ca.pem"
            ca_bundle.write_text(job.mirrors.ca_bundle)
        command = mmdebstrap(
            job.arguments.get("suite", SUITE), packages(job.rootfs["packages"]), sources, ca_bundle=ca_bundle
        )
        environment = {"SOURCE_DATE_EPOCH": str(EPOCH), "DEBIAN_FRONTEND": "noninteractive", **mirrors.environment()}
        cli.import_rootfs(command, tag, environment)
    return tag


def _pull(job: Job, cli: DockerCli, mirrors: Mirrors) -> tuple[str, str]:
    """Upstream's image, by the digest that is held to, under our tag; with our layer on it where there is one."""
    if job.upstream is None:
        raise AssertionError("job.upstream")
    if job.upstream_digest:
        name = Reference.parse(job.upstream)
        source = f"{name.name}@{job.upstream_digest}"
        cli.pull(source)
        digest = job.upstream_digest
    else:
        cli.pull(job.upstream)
        found = cli.repo_digest(job.upstream)
        if found is None:
            raise ImagesError(f"{job.upstream} was pulled, but the engine doesn't say under which digest")
        digest = found
        source = f"{Reference.parse(job.upstream).name}@{digest}"
    key = pull_key(digest, job.upstream_key)
    tag = f"{job.repository}:{key}"
    if job.upstream_key:
        _docker_build(job, cli, mirrors, tag, {"UPSTREAM": source}, key)
    else:
        cli.tag(source, tag)
    return tag, digest


def _docker_build(job: Job, cli: DockerCli, mirrors: Mirrors, tag: str, arguments: Mapping[str, str], key: str) -> None:
    if job.context is None:
        raise ImagesError("the action plugin sent no build context")
    with job.context.open("rb") as context:
        cli.build(
            context,
            tag,
            arguments=arguments,
            labels=_labels(job, key),
            secrets=mirrors.secrets(),
            network=job.network,
            fresh=job.rebuild,
        )
