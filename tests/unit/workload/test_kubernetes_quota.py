# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.beforehand import _classes
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.changes import Change
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.kinds import STORAGE_CLASS
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.quota import (
    Need,
    need_of,
    pod_amounts,
    quantity,
    short_of,
)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("250m", Fraction(1, 4)),
        ("64Mi", 2**26),
        ("1Gi", 2**30),
        ("2", 2),
        ("1e3", 1000),
        ("5k", 5000),
        (0.5, Fraction(1, 2)),
    ],
)
def test_quantities(text: Any, amount: Any) -> None:
    assert quantity(text) == amount


def controller(
    replicas: int, cpu: str, *, kind: str = "Deployment", surge: int = 1, image: str = "a"
) -> dict[str, Any]:
    container = {"image": image, "resources": {"limits": {"cpu": cpu}, "requests": {"cpu": "50m"}}}
    strategy = {"rollingUpdate": {"maxSurge": surge}} if surge else {"type": "Recreate"}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "t"},
        "spec": {"replicas": replicas, "strategy": strategy, "template": {"spec": {"containers": [container]}}},
    }


def quota(used: dict[str, str] | None = None, **hard: str) -> dict[str, Any]:
    limits = {name.replace("_", "."): amount for name, amount in hard.items()}
    return {"metadata": {"name": "q", "namespace": "t"}, "spec": {"hard": limits}, "status": {"used": used or {}}}


def test_new_pods_need_room() -> None:
    need = Need()
    need.add(None, controller(3, "200m"))
    assert short_of(quota(pods="3", limits_cpu="600m", requests_cpu="150m"), need) == []
    problems = short_of(quota(pods="2", limits_cpu="500m", requests_cpu="1", used={"limits.cpu": "100m"}), need)
    head = "The quota q of the namespace t is too small: of"
    assert problems == [
        f"{head} limits.cpu it allows 500m, 100m are used, and 0.6 more are needed",
        f"{head} pods it allows 2, 0 are used, and 3 more are needed",
    ]


def test_a_change_needs_what_is_new_and_for_a_moment_both() -> None:
    need = Need()
    need.add(controller(2, "200m"), controller(2, "200m", image="b"))
    full = {"limits.cpu": "400m"}
    assert short_of(quota(limits_cpu="400m", used=full), need) and not short_of(
        quota(limits_cpu="600m", used=full), need
    )
    need = Need()
    need.add(controller(2, "200m", surge=0), controller(2, "200m", surge=0, image="b"))
    assert not short_of(quota(limits_cpu="400m", used=full), need), "the old one goes first"
    need = Need()
    need.add(controller(4, "200m"), controller(1, "200m"))
    assert not short_of(quota(limits_cpu="400m", used={"limits.cpu": "800m"}), need), "less is always possible"


def test_jobs_are_for_a_moment_one_after_the_other_at_best() -> None:
    need = Need()
    need.add(None, controller(1, "300m", kind="Job"))
    need.add(None, controller(1, "200m", kind="Job"))
    assert not short_of(quota(limits_cpu="300m"), need) and short_of(quota(limits_cpu="299m"), need)


def test_what_is_on_its_way_out_counts_no_more() -> None:
    need = Need()
    need.add(None, controller(1, "300m"))
    going = [{"spec": controller(1, "300m")["spec"]["template"]["spec"]}]
    full = quota(limits_cpu="300m", used={"limits.cpu": "300m"})
    assert short_of(full, need) and not short_of(full, need, going)


def test_objects_are_counted_too() -> None:
    need = Need()
    claim = {
        "kind": "PersistentVolumeClaim",
        "spec": {"resources": {"requests": {"storage": "2Gi"}}},
        "metadata": {},
    }
    need_of(claim, need)
    need_of({"kind": "Service", "metadata": {}, "spec": {"type": "NodePort"}}, need)
    hard = {"requests.storage": "1Gi", "services.nodeports": "0", "count/persistentvolumeclaims": "0", "services": "5"}
    found = short_of({**quota(), "spec": {"hard": hard}}, need)
    assert len(found) == 3 and any(
        "requests.storage it allows 1Gi, 0 are used, and 2048Mi more" in item for item in found
    )
    assert short_of({**quota(), "spec": {"hard": hard, "scopes": ["BestEffort"]}}, need) == []


def test_a_limit_is_its_own_request() -> None:
    amounts = pod_amounts({"containers": [{"resources": {"limits": {"memory": "64Mi"}}}, {}]})
    assert amounts["requests.memory"] == amounts["limits.memory"] == amounts["memory"] == 2**26


class Classes:
    """An API that has these storage classes."""

    def __init__(self, *names: str, default: str = "") -> None:
        mark = {"storageclass.kubernetes.io/is-default-class": "true"}
        self.found = [{"metadata": {"name": name, "annotations": mark if name == default else {}}} for name in names]

    def items(self, kind: Any, _namespace: Any = None) -> list[dict[str, Any]]:
        assert kind is STORAGE_CLASS
        return self.found


def test_storage_classes() -> None:
    def told(classes: Classes, wanted: str | None) -> list[str]:
        spec = {"storageClassName": wanted} if wanted else {}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "d", "namespace": "t"}}
        problems: list[str] = []
        _classes(classes, [Change(claim, None, {**claim, "spec": spec}, "create")], problems)  # type: ignore[arg-type]
        return problems

    head = "PersistentVolumeClaim d in t: "
    assert told(Classes("fast", "slow"), None) == [
        f"{head}the cluster has no default storage class: set mlops_storage_class to one of these: fast, slow"
    ]
    assert told(Classes(), None) == [f"{head}the cluster has no default storage class: the cluster has none at all"]
    assert told(Classes("fast"), "slow")[0].startswith(
        f"{head}there is no storage class 'slow': set mlops_storage_class"
    )
    assert told(Classes("fast", default="fast"), None) == told(Classes("fast"), "fast") == []
