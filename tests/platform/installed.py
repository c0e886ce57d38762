# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The installed platform, as an operator's tools see it.

MLOPS_INVENTORY names the inventory (default: that of the molecule scenario `swarm`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from sites import Site, site_of
from sites import wait_for as wait_for

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "conformance")]

from gateway_client import Gateway  # noqa: E402
from predictions import EXAMPLE, Rest, read_rows  # noqa: E402

MODEL = "phishing"


@dataclasses.dataclass(frozen=True)
class Run:
    """What a playbook did."""

    code: int
    output: str
    seconds: float

    @property
    def changed(self) -> set[str]:
        return set(re.findall(r"changed=(\d+)", self.output))

    @property
    def end(self) -> str:
        return self.output[-6000:]


@dataclasses.dataclass
class Platform:
    """Where the platform is, and what an operator knows of it."""

    inventory: Path
    facts: dict[str, Any]
    site: Site

    @property
    def name(self) -> str:
        return str(self.facts["name"])

    @cached_property
    def gateway(self) -> Gateway:
        found = self.facts["gateway"]
        return Gateway(found["url"], found["address"], found["ca"])

    def gateway_at(self, address: str) -> Gateway:
        """The same gateway on another host."""
        return dataclasses.replace(self.gateway, address=address, timeout=5)

    @cached_property
    def secrets(self) -> dict[str, str]:
        return read_secrets(self.inventory)

    def predict(self, gateway: Gateway | None = None) -> list[Any]:
        """The model's answer to the first row of its test set."""
        names, rows = read_rows(EXAMPLE / "build/test.csv", "is_phishing")
        found: list[Any] = Rest(gateway or self.gateway, self.name, MODEL, names).ndarray(rows[:1])
        return found

    def start(self, *arguments: str, name: str = "site") -> subprocess.Popen[str]:
        """A playbook on this platform, under way."""
        return subprocess.Popen(
            [*command(self.inventory), str(ROOT / "playbooks" / f"{name}.yml"), *arguments],
            cwd=ROOT,
            env=environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def playbook(self, *arguments: str, name: str = "site") -> Run:
        begun = time.monotonic()
        process = self.start(*arguments, name=name)
        output, _ = process.communicate(timeout=1500)
        return Run(process.returncode, output, time.monotonic() - begun)


def command(inventory: Path) -> list[str]:
    return ["ansible-playbook", "-i", str(inventory)]


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}


def installed() -> Platform:
    """The platform of the inventory, whether anything of it runs or not."""
    inventory = Path(os.environ.get("MLOPS_INVENTORY", ROOT / "molecule/swarm/inventory")).resolve()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "platform.json"
        describe = [*command(inventory), str(Path(__file__).with_name("describe.yml")), "-e", f"out={out}"]
        done = subprocess.run(describe, cwd=ROOT, env=environment(), text=True, capture_output=True, check=False)
        if done.returncode:
            raise AssertionError(f"{inventory}: {done.stdout[-3000:]}{done.stderr[-1000:]}")
        facts = json.loads(out.read_text())
    return Platform(inventory, facts, site_of(facts))


def read_secrets(inventory: Path) -> dict[str, str]:
    """The values in the vaulted file of an inventory, flattened to name -> value."""
    key = (inventory / ".vault-key").read_bytes().strip()
    vault = VaultLib([("default", VaultSecret(key))])
    plain = yaml.safe_load(vault.decrypt((inventory / "secrets.vault.yml").read_bytes()))

    def leaves(prefix: str, value: Any) -> dict[str, str]:
        if isinstance(value, dict):
            return {
                k: v for name, child in value.items() for k, v in leaves(f"{prefix}.{name}".strip("."), child).items()
            }
        return {prefix: str(value)} if isinstance(value, str) else {}

    return leaves("", plain)
