# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._kubernetes.rights import (
    Right,
    attributes,
    granted,
    in_words,
    needed,
)
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.access import AGENT_RULES

EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
LOGS = Right("mlops", "", "pods/log", "get")


@pytest.mark.parametrize(
    ("rule", "right", "allowed"),
    [
        (EVERYTHING, LOGS, True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, LOGS, False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]}, LOGS, True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["*/log"]}, LOGS, True),
        ({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["*"]}, LOGS, False),
        ({"verbs": ["list"], "apiGroups": [""], "resources": ["*"]}, LOGS, False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["*"], "resourceNames": ["one"]}, LOGS, False),
        (
            {"verbs": ["get"], "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["mlops"]},
            Right("", "", "namespaces", "get", "mlops"),
            True,
        ),
        ({"verbs": ["get"], "nonResourceURLs": ["/version"]}, LOGS, False),
    ],
)
def test_rules_match_as_rbac_does(rule: dict[str, Any], right: Right, allowed: bool) -> None:
    assert granted(right, [rule]) is allowed
    assert granted(right, [{"verbs": [], "apiGroups": [], "resources": []}, rule]) is allowed


def test_nobody_can_make_the_agents_role_who_has_not_its_rights() -> None:
    rights = needed(["mlops", "mlops-edge"], manage_namespaces=True)
    for namespace in ("mlops", "mlops-edge"):
        own = [right for right in rights if right.namespace == namespace]
        for rule in AGENT_RULES:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    assert Right(namespace, rule["apiGroups"][0], resource, verb) in own
    assert Right("mlops", "rbac.authorization.k8s.io", "rolebindings", "create") in rights


def test_namespaces_of_the_administrators_are_only_looked_at() -> None:
    managed = {right.verb for right in needed(["mlops"], manage_namespaces=True) if right.resource == "namespaces"}
    given = {right.verb for right in needed(["mlops"], manage_namespaces=False) if right.resource == "namespaces"}
    assert managed == {"create", "delete", "get", "patch"}
    assert given == {"get"}
    # A name that isn't there yet can't be narrowed to.
    assert Right("", "", "namespaces", "create") in needed(["mlops"], manage_namespaces=True)


def test_in_words_each_verb_and_resource_by_namespace() -> None:
    missing = [
        Right("mlops", "apps", "deployments", "patch"),
        Right("mlops", "apps", "deployments", "create"),
        Right("mlops", "", "pods/log", "get"),
        Right("", "", "namespaces", "create"),
        Right("", "", "namespaces", "patch", "mlops"),
    ]
    assert in_words(missing) == [
        "in the whole cluster: create namespaces; patch namespaces mlops",
        "in the namespace mlops: get pods/log; create, patch deployments.apps",
    ]


def test_a_part_of_a_resource_is_asked_for_as_such() -> None:
    assert attributes(LOGS) == {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "mlops"}
    assert attributes(Right("", "", "namespaces", "create")) == {"verb": "create", "resource": "namespaces"}
