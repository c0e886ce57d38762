# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A condition that is a variable of the site's goes through `bool`: on a command line (-e name=true) it is text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
BARE = re.compile(r"^(not +)?(?!__|ansible_)[a-z_]+( *\| *default\([^)]*\))?$")


def conditions(task: Any) -> Iterator[str]:
    if isinstance(task, list):
        for item in task:
            yield from conditions(item)
    elif isinstance(task, dict):
        when = task.get("when", [])
        yield from (str(item) for item in (when if isinstance(when, list) else [when]))
        for key in ("tasks", "block", "rescue", "always"):
            yield from conditions(task.get(key, []))


def test_no_condition_is_a_bare_variable() -> None:
    files = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]
    assert len(files) > 20
    found = [
        f"{file.relative_to(ROOT)}: {condition}"
        for file in files
        for condition in conditions(yaml.safe_load(file.read_text()))
        if BARE.match(condition)
    ]
    assert found == []
