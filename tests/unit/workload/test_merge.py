# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Overrides and the filters that roles use."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.onprem.plugins.filter.workloads import problems
from ansible_collections.mlops.onprem.plugins.module_utils._workload import WorkloadError, merge, override
from ansible_collections.mlops.onprem.plugins.plugin_utils.workload_filters import declare_workloads, workload_problems

WEB = {
    "name": "web",
    "image": "one",
    "env": {"A": "1", "B": "2"},
    "args": ["run"],
    "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}],
    "probes": {"liveness": {"tcp": {"port": "http"}}},
}


def test_merging_goes_deep() -> None:
    merged = merge(WEB, {"env": {"B": "3", "A": None}, "args": ["walk"], "probes": {"liveness": {"interval": 5}}})
    assert merged["env"] == {"B": "3"} and merged["args"] == ["walk"]
    assert merged["probes"] == {"liveness": {"tcp": {"port": "http"}, "interval": 5}}
    assert WEB["env"] == {"A": "1", "B": "2"}


def test_named_items_are_merged_by_name() -> None:
    ports = [{"name": "http", "published": 8080}, {"name": "admin", "absent": True}, {"name": "new", "port": 82}]
    merged = merge(WEB, {"ports": ports})
    assert merged["ports"] == [{"name": "http", "port": 80, "published": 8080}, {"name": "new", "port": 82}]


def test_jobs_are_bent_too() -> None:
    base = {"jobs": [{"name": "migrate", "env": {"A": "1"}, "configs": [{"path": "/a", "content": "x"}]}]}
    bent = {"jobs": [{"name": "migrate", "env": {"B": "2"}, "configs": [{"path": "/a", "content": "y"}]}]}
    assert merge(base, bent)["jobs"] == [
        {"name": "migrate", "env": {"A": "1", "B": "2"}, "configs": [{"path": "/a", "content": "y"}]}
    ]


def test_an_override_of_nothing_is_told() -> None:
    with pytest.raises(WorkloadError, match=r"wob: there is no such workload \(known: web\)"):
        override([WEB], {"wob": {}})


def test_declaring_again_replaces() -> None:
    known = declare_workloads([], [WEB], {"web": {"replicas": 2}})
    assert known[0]["replicas"] == 2
    assert declare_workloads(known, [WEB, {"name": "other"}]) == [WEB, {"name": "other"}]
    with pytest.raises(AnsibleFilterError):
        declare_workloads([], [WEB], {"wob": {}})


def test_problems_are_the_messages_of_failed_checks() -> None:
    assert problems([{"ok": True, "message": "a"}, {"ok": False, "message": "b"}, "c"]) == ["b", "c"]
    with pytest.raises(AnsibleFilterError):
        problems([{"message": "a"}])


def test_workload_problems() -> None:
    assert workload_problems([WEB]) == []
    assert workload_problems([{"name": "web"}]) == ["web.image: is required"]
    assert workload_problems("x") == ["Workloads must be a list"]
