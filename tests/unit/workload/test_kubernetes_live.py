# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What differs between a live object and what it would become, and the way back to what was applied."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.live import (
    comparable,
    differences,
    mounted,
    shown,
)
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.managed import applied, is_ours
from hypothesis import given
from hypothesis import strategies as st

from .recorded import RECORDED

LIVE = RECORDED["live"]


def changed(**container: Any) -> list[str]:
    other = copy.deepcopy(LIVE)
    other["spec"]["template"]["spec"]["containers"][0].update(container)
    other["metadata"].update(resourceVersion="9", generation=9, managedFields=[], uid="other")
    other["status"] = {"replicas": 9}
    return differences(comparable(LIVE), comparable(other))


def test_nothing_differs_in_what_the_server_keeps_for_itself() -> None:
    assert changed() == []


def test_fields_are_named_shortly() -> None:
    assert changed(image="other") == ["image"]
    assert changed(env=[{"name": "A", "value": "2"}, {"name": "B", "value": ""}]) == ["env.A.value", "env.B"]
    assert changed(env=None) == ["env.A"]
    assert changed(readinessProbe={"tcpSocket": {"port": 1}}) == ["readinessProbe"]
    assert changed(ports=[{"containerPort": 8081, "protocol": "TCP"}]) == ["ports.8080", "ports.8081"]
    assert changed(command=["sleep", "1"]) == ["command"]
    assert changed(securityContext={"capabilities": {"drop": ["ALL"]}}) == ["securityContext.allowPrivilegeEscalation"]
    other = copy.deepcopy(LIVE)
    other["spec"]["template"]["spec"]["volumes"] = [{"name": "config", "configMap": {"name": "x"}}]
    other["spec"]["replicas"] = 1
    other["metadata"]["labels"]["team"] = "b"
    found = differences(comparable(LIVE), comparable(other))
    assert found == ["labels.team", "replicas", "volumes.config"]


@given(st.permutations(["A", "B", "C"]))
def test_order_is_a_difference_of_the_list_alone(names: list[str]) -> None:
    before = {"env": [{"name": name, "value": "1"} for name in "ABC"]}
    after = {"env": [{"name": name, "value": "1"} for name in names]}
    assert differences(before, after) == ([] if before == after else ["env"])


def test_secrets_are_shown_by_name() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "web-secret-12"}, "data": {"password": "aGlkZGVu"}}
    assert shown(secret) == {"name": "web-secret-12", "keys": ["password"]}
    config = {"kind": "ConfigMap", "metadata": {"name": "web-config-12"}, "data": {"a.ini": "a"}}
    assert shown(config) == {"name": "web-config-12", "data": {"a.ini": "a"}}


def test_what_is_mounted() -> None:
    volumes = [
        {"name": "config", "configMap": {"name": "c"}},
        {"name": "secret", "secret": {"secretName": "s"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "d"}},
    ]
    thing = {"metadata": {"namespace": "t"}, "spec": {"template": {"spec": {"volumes": volumes}}}}
    assert [str(key) for key in mounted(thing)] == ["ConfigMap c in t", "Secret s in t"]


def test_the_way_back_is_what_we_applied() -> None:
    """Nothing of the server's defaults, nothing of somebody else's."""
    found = applied(LIVE)
    assert found is not None and is_ours(LIVE)
    assert found["metadata"] == {
        "name": "web",
        "namespace": "t-record",
        "labels": {"mlops.onprem/namespace": "t-record", "mlops.onprem/workload": "web"},
    }
    assert set(found["spec"]) == {"selector", "template"}, "somebody took replicas over"
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert "terminationMessagePath" not in container and "imagePullPolicy" not in container
    assert (found["apiVersion"], found["kind"]) == ("apps/v1", "Deployment")
    theirs = copy.deepcopy(LIVE)
    theirs["metadata"]["managedFields"] = [
        entry for entry in theirs["metadata"]["managedFields"] if entry["manager"] != "mlops.onprem"
    ]
    assert applied(theirs) is None and not is_ours(theirs)
