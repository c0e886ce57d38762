# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Small workloads on this machine's Swarm, and a plain view of what the engine has of them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
for folder in ("plugins/module_utils",):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

from _workload import Result, WorkloadError  # noqa: E402 - found only now
from _workload.backends import backend  # noqa: E402 - found only now
from _workload.engine import Engine  # noqa: E402 - found only now

IMAGES = {"one": "t-workload/server:1", "two": "t-workload/server:2"}
SECRETS = {"web_password": "correct horse battery staple"}
SERVER = (Path(__file__).parent / "page_server.py").read_bytes()


def base_image(engine: Engine) -> str | None:
    """The platform's base image, wherever its registry is."""
    for image in sorted(engine.get("/images/json"), key=lambda image: -int(image["Created"])):
        for tag in image.get("RepoTags") or []:
            if tag.rpartition(":")[0].endswith("/base"):
                return str(tag)
    return None


def build_images(engine: Engine, base: str) -> None:
    """Two versions of a server of one page, on the base image; no registry knows them."""
    for version, name in enumerate(IMAGES.values(), 1):
        recipe = (
            f"FROM {base}\nUSER 0\nCOPY page_server.py /page_server.py\n"
            f"RUN install -d -o 10001 -g 10001 /data\nUSER 10001:10001\nLABEL version={version}\n"
        )
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as tar:
            for path, content in (("Dockerfile", recipe.encode()), ("page_server.py", SERVER)):
                member = tarfile.TarInfo(path)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        done = subprocess.run(
            ["docker", "build", "-q", "-t", name, "-"],
            input=context.getvalue(),
            capture_output=True,
            env={"DOCKER_BUILDKIT": "0", "PATH": "/usr/bin:/usr/local/bin:/bin", "HOME": "/nonexistent"},
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()


def server(name: str = "web", *, late: float = 0, **more: Any) -> dict[str, Any]:
    """A server of one page: alive at once, its page there after ``late`` seconds."""
    workload = {
        "name": name,
        "image": "one",
        "args": ["python3", "/page_server.py", "8080", str(late)],
        "ports": [{"name": "http", "port": 8080}],
        "probes": {
            "liveness": {"http": {"port": "http", "path": "/live"}, "interval": 1, "retries": 2, "start_period": 10}
        },
        "resources": {"limits": {"cpu": 0.5, "memory": "64Mi"}},
        "update": {"health_window": 2},
        "stop_grace": 2,
        "zone": "data",
    }
    return {**workload, **more}


def job(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "job", "image": "one", "args": ["sh", "-c", script], "stop_grace": 1, **more}


class Cluster:
    """The seam under test, and the engine behind it."""

    def __init__(self, namespace: str, host: str | None = None) -> None:
        self.namespace = namespace
        self.host = host
        self.engine = Engine(host)

    def apply(self, *workloads: dict[str, Any], set_name: str = "platform", timeout: float = 60, **more: Any) -> Result:
        options = {"images": IMAGES, "secret_values": SECRETS, "progress": print, **more}
        cluster = backend("swarm", self.namespace, domain="test", wait_timeout=timeout, docker_host=self.host)
        return cluster.apply(set_name, list(workloads), **options)

    def fails(self, *workloads: dict[str, Any], **more: Any) -> WorkloadError:
        try:
            self.apply(*workloads, **more)
        except WorkloadError as error:
            print(error)
            return error
        raise AssertionError("this should have failed")

    def absent(self, set_name: str = "platform", **more: Any) -> Result:
        return backend("swarm", self.namespace, docker_host=self.host).absent(set_name, **{"progress": print, **more})

    def service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.engine.get(f"/services/{self.namespace}_{name}")
        return found

    def container(self, name: str) -> str:
        """The id of the running container of a workload."""
        for item in backend("swarm", self.namespace, docker_host=self.host).observe():
            if item.name == name:
                return str(next(task.container for task in item.tasks if task.healthy))
        raise AssertionError(f"{name} doesn't run")

    def run(self, name: str, *command: str) -> str:
        """What a command prints in the workload's container."""
        code, output = self.engine.exec(self.container(name), list(command), timeout=20)
        assert code == 0, output
        return output

    def edit(self, name: str, change: Any) -> None:
        """Changes a live service by hand."""
        service = self.service(name)
        change(service["Spec"])
        version = str(service["Version"]["Index"])
        self.engine.post(f"/services/{service['ID']}/update", service["Spec"], version=version)

    def objects(self) -> dict[str, list[str]]:
        """All that the engine has of the namespace, by kind."""

        def ours(items: list[dict[str, Any]]) -> list[str]:
            names = [item.get("Name") or item["Spec"]["Name"] for item in items]
            return sorted(name for name in names if name.startswith(f"{self.namespace}_"))

        return {
            "services": ours(self.engine.get("/services")),
            "configs": ours(self.engine.get("/configs")),
            "secrets": ours(self.engine.get("/secrets")),
            "networks": ours(self.engine.get("/networks")),
            "volumes": ours(self.engine.get("/volumes")["Volumes"] or []),
            "pins": sorted(
                label
                for node in self.engine.get("/nodes")
                for label in node["Spec"].get("Labels") or {}
                if label.startswith(f"mlops.pin.{self.namespace}.")
            ),
        }

    def clean(self) -> None:
        for set_name in ("platform", "models"):
            self.absent(set_name, remove_volumes=True, progress=None)


def main() -> None:
    """Applies the workloads on standard input: what a test kills."""
    Cluster(sys.argv[1]).apply(*json.load(sys.stdin))


if __name__ == "__main__":
    main()
