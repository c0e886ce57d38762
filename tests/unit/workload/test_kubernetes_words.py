# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Refusals in words, from errors as an API server (1.34) told them: recorded/kubernetes.json."""

from __future__ import annotations

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.api import ApiError
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.kinds import Key
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.words import (
    conflicts,
    immutable,
    port_taken,
    words,
)

from .recorded import RECORDED

KEYS = {
    "claim_class": Key("PersistentVolumeClaim", "t", "store-data"),
    "claim_grows": Key("PersistentVolumeClaim", "t", "store-data"),
    "claim_shrinks": Key("PersistentVolumeClaim", "t", "store-data"),
    "node_port": Key("Service", "t", "s2"),
}
WORDS = {
    "claim_class": "PersistentVolumeClaim store-data in t: a volume keeps its storage class and the rest",
    "claim_grows": "PersistentVolumeClaim store-data in t: the volume can't grow: its storage class doesn't allow it",
    "claim_shrinks": "PersistentVolumeClaim store-data in t: a volume can't shrink",
    "conflict": "Deployment web in t: these fields belong to others: spec.replicas to somebody: "
    "set mlops_force_conflicts to take them over, or leave them to it",
    "immutable": "Deployment web in t: spec.selector: Invalid value",
    "node_port": "Service s2 in t: spec.ports[0].nodePort: Invalid value: 30777: provided port is already allocated",
    "pod_security": "Deployment web in t: Pod Security refuses it: ",
    "right": "somebody may not patch deployments.apps in the namespace t-record",
    "right_cluster": "somebody may not list nodes in the whole cluster",
    "right_logs": "somebody may not get pods/log in the namespace t-record",
}


def error(case: str) -> ApiError:
    found = RECORDED["errors"][case]
    return ApiError(
        f"Kubernetes refused it: {found['text']}",
        found["status"],
        reason=found["reason"],
        text=found["text"],
        details=found["details"],
    )


@pytest.mark.parametrize("case", WORDS)
def test_words(case: str) -> None:
    assert words(error(case), KEYS.get(case, Key("Deployment", "t", "web"))).startswith(WORDS[case])


def test_a_right_needs_no_object() -> None:
    assert words(error("right")) == WORDS["right"]
    assert words(ApiError("No answer from there", 0), Key("Deployment", "t", "web")) == "No answer from there"


def test_what_kind_of_refusal() -> None:
    assert {case for case in RECORDED["errors"] if immutable(error(case))} == {
        "immutable",
        "immutable_stateful_set",
        "claim_class",
    }
    assert {case for case in RECORDED["errors"] if conflicts(error(case))} == {"conflict"}
    assert port_taken(error("node_port")) == [30777] and not port_taken(error("conflict"))
