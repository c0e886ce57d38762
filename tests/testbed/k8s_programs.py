# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The programs of a Kubernetes bed: built once from Go modules, or installed from the distribution's packages."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bed_images
from nodes import CHECKOUT, BedError, missing_programs, run

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
OLDEST_GO = (1, 24)


def say(text: str) -> None:
    print(f"testbed: {text}", file=sys.stderr, flush=True)


def kubernetes_version() -> str:
    """As in v1.34.4: the version that go.mod requires."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (SOURCES / "go.mod").read_text())
    assert found
    return found[1]


def place() -> Path:
    """Where the built programs are kept: a directory named after what they are built from."""
    files = sorted(path for path in SOURCES.rglob("*") if path.suffix == ".go" or path.name in ("go.mod", "go.sum"))
    content = hashlib.sha256(platform.machine().encode())
    for path in files:
        content.update(f"{path.name}\0".encode() + path.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-onprem"
    return Path(os.environ.get("MLOPS_CACHE") or cache) / f"testbed-{content.hexdigest()[:16]}"


def build() -> Path:
    """The directory with the programs, made where it isn't there yet."""
    built = place()
    if built.exists():
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    with built.with_name(f"{built.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process builds the cluster's programs; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            new = Path(tempfile.mkdtemp(prefix=f"{built.name}.", dir=built.parent))
            try:
                _build_into(new)
                new.chmod(0o755)
                new.rename(built)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    return built


def _build_into(directory: Path) -> None:
    go = _go()
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    say(f"building Kubernetes {version} and what it needs, once; this takes 5 to 15 minutes")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    flags = ["-s", "-w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    begun = last = time.monotonic()
    for target, package in (("kubernetes", "."), ("pause", "./pause")):
        command = ["nice", go, "build", "-v", "-trimpath", "-ldflags", " ".join(flags), "-o", str(directory / target)]
        output: list[str] = []
        with subprocess.Popen(
            [*command, package],
            cwd=SOURCES,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout
            for line in process.stdout:
                output.append(line.rstrip())
                if time.monotonic() - last > 20:
                    last = time.monotonic()
                    say(f"{last - begun:.0f} s, {len(output)} modules and packages; now {output[-1]}")
        if process.returncode:
            raise BedError("the cluster's programs can't be built; go's last lines:\n" + "\n".join(output[-15:]))
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


def _go() -> str:
    """A compiler that is new enough: this machine's, or one of PyPI."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and Path(candidate).exists():
            answer = run(candidate, "env", "GOVERSION", check=False, env={**os.environ, "GOTOOLCHAIN": "local"}).stdout
            found = re.match(r"go(\d+)\.(\d+)", answer)
            if found and (int(found[1]), int(found[2])) >= OLDEST_GO:
                return candidate
    environment = run(str(CHECKOUT / "bin" / "python-env"), "go").stdout.strip()
    return f"{environment}/bin/go"


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
