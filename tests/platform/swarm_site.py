# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A platform on a Swarm, seen through the engines of its hosts."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import docker
from sites import BESIDE, IMMUTABLE, Site, wait_for

KINDS = ("services", "containers", "networks", "secrets", "configs", "volumes")


class SwarmSite(Site):
    def __init__(self, name: str, engines: list[docker.DockerClient]) -> None:
        self.name = name
        self.engines = engines
        self.manager = engines[0]

    @classmethod
    def of(cls, facts: dict[str, Any]) -> SwarmSite:
        """The engines are those of a test bed's hosts, or this machine's own."""
        hosts = [host for host in facts["engines"] if host]
        engines = [docker.DockerClient(host, timeout=60) for host in hosts] or [docker.from_env(timeout=60)]
        return cls(facts["name"], engines)

    def services(self) -> list[Any]:
        return self.manager.services.list(filters={"label": f"mlops.namespace={self.name}"})

    def service(self, workload: str) -> Any:
        return self.manager.services.get(f"{self.name}_{workload}")

    def containers(self) -> list[Any]:
        """Running containers: all tasks of the platform's services, and what runs beside the cluster."""
        services = {service.id for service in self.services()}
        found = []
        for engine in self.engines:
            for container in engine.containers.list(filters={"label": "com.docker.swarm.service.id"}):
                if container.labels["com.docker.swarm.service.id"] in services:
                    found.append(container)
            found += engine.containers.list(filters={"name": f"^{self.name}-{BESIDE}$"})
        return found

    def running(self) -> dict[str, str]:
        return {container.id: container.name.split(".")[0] for container in self.containers()}

    def hardening(self) -> list[str]:
        problems = []
        for container in self.containers():
            name, config, host = container.name, container.attrs["Config"], container.attrs["HostConfig"]
            user = str(config.get("User") or "root").split(":")[0]
            expectations = {
                "runs as root": user not in ("root", "0"),
                "has a writable root": host["ReadonlyRootfs"],
                "keeps capabilities": host.get("CapDrop") == ["ALL"] and not host.get("CapAdd"),
                "is privileged": not host["Privileged"],
                "has no memory limit": host["Memory"] > 0,
                "has no CPU limit": host["NanoCpus"] > 0 or host["CpuQuota"] > 0,
                "has no health check": bool(config.get("Healthcheck", {}).get("Test")),
                "is named by a tag that may move": IMMUTABLE.search(config["Image"]) is not None,
            }
            problems += [f"{name} {what}" for what, held in expectations.items() if not held]
        return problems

    def holders(self) -> set[str]:
        return {
            container.name.split(".")[0].removeprefix(f"{self.name}_")
            for container in self.containers()
            if any("docker.sock" in mount.get("Source", "") for mount in container.attrs["Mounts"])
        }

    def memory(self) -> dict[str, float]:
        used = {}
        for container in self.containers():
            memory = container.stats(stream=False)["memory_stats"]
            cache = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
            used[".".join(container.name.split(".")[:2])] = memory["usage"] - cache
        return used

    def objects(self) -> Iterator[tuple[str, Any]]:
        for service in self.services():
            yield service.name, service.attrs
            for task in service.tasks():
                yield f"a task of {service.name}", task
        for container in self.containers():
            yield container.name, container.attrs
        api = self.manager.api
        for kind in (api.secrets(), api.networks(), api.configs()):
            yield "secrets, networks, configs", kind
        for config in api.configs():
            yield config["Spec"]["Name"], base64.b64decode(config["Spec"].get("Data", "")).decode(errors="replace")

    def logs(self) -> Iterator[tuple[str, bytes]]:
        for container in self.containers():
            yield container.name, container.logs()

    def images(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The images that containers run, each as an archive in pieces."""
        found: dict[str, Any] = {}
        for container in self.containers():
            found.setdefault(container.attrs["Image"], container.client)
        for image in sorted(found):
            yield image, found[image].api.get_image(image)

    def crash(self, workload: str) -> None:
        for container in self.containers():
            if container.name.startswith(f"{self.name}_{workload}."):
                container.kill()

    def home(self, workload: str) -> str:
        [task] = self.service(workload).tasks({"desired-state": "running"})
        return str(self.manager.nodes.get(task["NodeID"]).attrs["Spec"]["Labels"]["mlops.host"])

    def scale(self, workload: str, replicas: int) -> None:
        self.service(workload).scale(replicas)

        def running() -> bool:
            states = [task["Status"]["State"] for task in self.service(workload).tasks()]
            return states.count("running") == replicas

        wait_for(running, seconds=180, what=f"{workload} runs {replicas} times")

    def left(self) -> list[str]:
        found = []
        for engine in self.engines:
            for kind in KINDS:
                if kind in ("services", "secrets", "configs") and not engine.info()["Swarm"]["ControlAvailable"]:
                    continue
                options = {"all": True} if kind == "containers" else {}
                for item in getattr(engine, kind).list(**options):
                    if item.name.startswith((f"{self.name}_", f"{self.name}-")):
                        found.append(f"{kind[:-1]} {item.name}")
        return sorted(set(found))
