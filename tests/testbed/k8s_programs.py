# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The programs of a Kubernetes bed: built once from Go modules, or installed from the distribution's packages."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import bed_images
import go_programs
from go_programs import go, make_once, say
from nodes import BedError, missing_programs, run

SOURCES = Path(__file__).with_name("kubernetes")
PROGRAMS = (
    *("coredns", "etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"),
    "volume-provisioner",
)
PAUSE_IMAGE = "testbed.invalid/pause:1"
TEST_IMAGE = "testbed.invalid/busybox:1"
"""Both are on every node, and in no registry."""
PACKAGES = {
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ctr": "containerd",
    "ip": "iproute2",
    "iptables": "iptables",
    "runc": "runc",
}
NETWORK_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))


def kubernetes_version() -> str:
    """As in v1.34.4: the version that go.mod requires."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (SOURCES / "go.mod").read_text())
    assert found
    return found[1]


def place() -> Path:
    """Where the built programs are kept."""
    files = (path for path in SOURCES.rglob("*") if path.suffix == ".go" or path.name in ("go.mod", "go.sum"))
    return go_programs.place("testbed", sorted(files))


def build() -> Path:
    """The directory with the programs, made where it isn't there yet."""
    return make_once(place(), _build_into)


def _build_into(directory: Path) -> None:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    say(f"building Kubernetes {version} and what it needs, once; this takes 5 to 15 minutes")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    flags = ["-s", "-w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())]
    environment = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    begun = time.monotonic()
    for target, package in (("kubernetes", "."), ("pause", "./pause")):
        command = ["build", "-v", "-trimpath", "-ldflags", " ".join(flags), "-o", str(directory / target), package]
        go("the cluster's programs", *command, cwd=SOURCES, **environment)
    for name in PROGRAMS:
        (directory / name).symlink_to("kubernetes")
    say(f"built in {time.monotonic() - begun:.0f} s")


def image_archives() -> list[bytes]:
    """What every node gets: the image that holds a Pod's namespaces, and one for Pods of tests."""
    programs = place()
    pause = bed_images.archive(PAUSE_IMAGE, {"pause": (programs / "pause").read_bytes()}, {"Entrypoint": ["/pause"]})
    recipe = hashlib.sha256(Path(bed_images.__file__).read_bytes()).hexdigest()[:8]
    kept = programs / f"busybox-{recipe}.tar"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=programs) as scratch:
            new = Path(scratch) / "image"
            new.write_bytes(bed_images.busybox(Path(scratch), TEST_IMAGE))
            new.rename(kept)
    return [pause, kept.read_bytes()]


def install() -> None:
    """Installs what the nodes need of the distribution's packages, where it is missing."""
    packages = {PACKAGES[name] for name in missing_programs(*PACKAGES)}
    if not any((directory / "bridge").exists() for directory in NETWORK_PLUGINS):
        packages.add("containernetworking-plugins")
    if not packages:
        return
    wanted = sorted(packages)
    if os.geteuid() or not shutil.which("apt-get"):
        raise BedError(f"the test bed needs the programs of Debian's {', '.join(wanted)}; install them")
    say(f"installing {', '.join(wanted)}")
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if run(*apt, "install", "-y", "--no-install-recommends", *wanted, check=False, env=environment).returncode:
        run(*apt, "update", env=environment)
        run(*apt, "install", "-y", "--no-install-recommends", *wanted, env=environment)


def network_plugins() -> Path:
    return next(directory for directory in NETWORK_PLUGINS if (directory / "bridge").exists())
