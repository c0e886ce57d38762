# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Options of an entry point are checked wherever it has some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
SPECS = {
    file.parents[1].name: yaml.safe_load(file.read_text())["argument_specs"]
    for file in sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))
}


def takes_options(entry_point: str) -> set[str]:
    return {role for role, specs in SPECS.items() if (specs.get(entry_point) or {}).get("options")}


def test_validate_skips_the_check_where_there_is_nothing_to_check() -> None:
    known = yaml.safe_load((ROOT / "playbooks/vars/platform.yml").read_text())["__platform_typed"]
    assert takes_options("validate") == set(known)


@pytest.mark.parametrize("slot", ["postgresql", "object_store", "kafka", "prefect", "prometheus", "grafana"])
def test_what_is_asked_of_a_slot_takes_no_options(slot: str) -> None:
    assert slot not in takes_options("preflight")


@pytest.mark.parametrize("role", ["mlflow", "prefect", "grafana"])
def test_what_configures_is_told_what_main_was_told(role: str) -> None:
    specs: dict[str, Any] = SPECS[role]
    assert specs["configure"]["options"] == specs["main"]["options"]
