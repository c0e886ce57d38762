# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from ansible_collections.mlops.onprem.plugins.module_utils._kubernetes.nodes import problems, read, unknown_to_inventory


def node(name: str, *, architecture: str = "amd64", ready: str = "True", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"192.0.2.{len(name)}"}],
            "conditions": [{"type": "Ready", "status": ready}],
            "nodeInfo": {"architecture": architecture, "containerRuntimeVersion": "containerd://2.1.0"},
        },
    }


TAINT = {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}


def test_which_nodes_take_pods() -> None:
    assert read(node("a")).takes_pods
    assert read(node("a", taints=[{"key": "x", "effect": "PreferNoSchedule"}])).takes_pods
    assert not read(node("a", **TAINT)).takes_pods
    assert not read(node("a", unschedulable=True)).takes_pods
    assert not read(node("a", ready="Unknown")).takes_pods


def test_no_node_takes_pods() -> None:
    (problem,), warnings = problems([read(node("a", **TAINT))], "x86_64")
    assert "no node that is ready and takes Pods" in problem
    assert warnings == []


def test_images_are_for_one_architecture() -> None:
    both = [read(node("a")), read(node("bb", architecture="arm64"))]
    assert problems(both[:1], "x86_64") == ([], [])
    assert problems(both, "x86_64")[0] == []
    assert "bb (arm64)" in problems(both, "x86_64")[1][0]
    assert "no node is that: bb (arm64)" in problems(both[1:], "x86_64")[0][0]
    assert problems(both[1:], "aarch64") == ([], [])


def test_nodes_that_the_inventory_does_not_have() -> None:
    nodes = [read(node(name)) for name in ("a", "bb.example.org", "ccc")]
    assert unknown_to_inventory(nodes, {}) == ["a", "bb.example.org", "ccc"]
    assert unknown_to_inventory(nodes, {"a": "", "bb": "", "rack7": "192.0.2.3"}) == []
