# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The roles that docs/ hands to administrators are what is asked for, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible_collections.mlops.onprem.plugins.module_utils._kubernetes.rights import granted, needed

FILE = Path(__file__).resolve().parents[3] / "docs" / "kubernetes-rights.yml"


def rules(name: str) -> list[dict[str, Any]]:
    things = list(yaml.safe_load_all(FILE.read_text()))
    return next(t["rules"] for t in things if t["kind"] == "ClusterRole" and t["metadata"]["name"] == name)


def test_they_suffice() -> None:
    for right in needed(["mlops", "mlops-edge"], manage_namespaces=True):
        assert granted(right, rules("mlops-onprem" if right.namespace else "mlops-onprem-cluster")), right


def test_they_are_no_more() -> None:
    wanted = {(r.group, r.resource, r.verb) for r in needed(["mlops"], manage_namespaces=True) if r.namespace}
    given = {
        (group, resource, verb)
        for rule in rules("mlops-onprem")
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == wanted
