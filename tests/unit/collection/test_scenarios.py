# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Molecule's scenarios are in step: one a target, one a component, and one verify file a component for all of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

import run  # noqa: E402

TARGETS = {"swarm", "swarm_cluster", "kubernetes"}


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def components() -> set[str]:
    return {*read("playbooks/vars/platform.yml")["__platform_component_roles"], "model"}


def scenarios() -> set[str]:
    return {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}


def test_there_is_a_scenario_for_each_target_and_each_component() -> None:
    assert scenarios() == TARGETS | components()


def test_every_component_says_what_it_must_do() -> None:
    assert {path.stem for path in ROOT.glob("molecule/shared/verify/*.yml")} == components()


def test_it_is_known_what_each_component_needs() -> None:
    requires = read("roles/validate/vars/main.yml")["__validate_requires"]
    assert set(requires) == components() - {"model"}
    for name, needed in requires.items():
        assert {more for other in needed for more in requires[other]} <= {*needed}, f"{name} needs what it needs, too"


def test_scenarios_of_one_kind_are_alike() -> None:
    assert all(read(f"molecule/{name}/molecule.yml") == {} for name in components())
    first, *others = (read(f"molecule/{name}/molecule.yml") for name in sorted(TARGETS))
    assert all(other == first for other in others)


def test_targets_differ_in_hosts_and_one_line() -> None:
    for name in TARGETS:
        variables = read(f"molecule/{name}/inventory/group_vars/mlops.yml")
        assert variables["mlops_target"] == name.partition("_")[0]
        assert variables["mlops_models"] == ["../../../examples/phishing/model.yml"]
        assert variables["mlops_remove_data"] is True


@pytest.mark.parametrize("stage", run.stages(), ids=lambda stage: stage.name)
def test_a_stage_comes_after_what_it_builds_on(stage: run.Stage) -> None:
    names = [other.name for other in run.stages()]
    assert names.count(stage.name) == 1
    for needed in stage.after:
        assert needed in names[: names.index(stage.name)]
    if stage.is_pytest:
        assert all((ROOT / part).exists() for part in stage.command if part.startswith("tests/"))


def test_every_suite_is_run() -> None:
    commands = [part for stage in run.stages() for part in stage.command]
    suites = [path.relative_to(ROOT) for path in ROOT.glob("tests/integration/*") if any(path.glob("test_*.py"))]
    bars = [path.relative_to(ROOT) for path in ROOT.glob("tests/platform/test_*.py")]
    assert [str(path) for path in (*suites, *bars) if str(path) not in commands] == []
