# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is declared, and what follows for a broker that has something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_kafka import acls
from mlops_kafka.declaration import (
    RIGHTS,
    Declaration,
    Grant,
    Present,
    Topic,
    plan_grants,
    plan_topics,
    retention_ms,
)
from mlops_kafka.settings import SettingsError

ETL = {"name": "etl", "password_file": "/run/secrets/etl", "grants": [{"groups": "etl*", "rights": ["read"]}]}


def read(users: Any = None, topics: Any = None) -> Declaration:
    return Declaration.read("" if users is None else json.dumps(users), "" if topics is None else json.dumps(topics))


def test_users_topics_and_grants_of_both() -> None:
    topic = {"name": "orders", "partitions": 3, "retention": "7d", "cleanup": "compact", "grants": {"etl": ["read"]}}
    found = read([ETL], [{**topic, "settings": {"segment.ms": 60000}}])
    assert [user.name for user in found.users or ()] == ["etl"]
    assert found.grants == {Grant("etl", "groups", "etl*", "read"), Grant("etl", "topics", "orders", "read")}
    settings = {"retention.ms": "604800000", "cleanup.policy": "compact", "segment.ms": "60000"}
    assert found.topics == (Topic("orders", 3, settings),)


def test_without_users_they_are_somebody_elses_business() -> None:
    assert read(None, [{"name": "x"}]).users is None
    assert read([], []).users == ()


@pytest.mark.parametrize(
    ("users", "topics", "message"),
    [
        ([{"name": "a b"}], [], "a name is letters"),
        ([ETL, ETL], [], "declared twice"),
        ([{"name": "x", "admin": True}], [], "unknown key admin"),
        (
            [{"name": "x", "grants": [{"topics": "a", "groups": "b", "rights": ["read"]}]}],
            [],
            "names one of topics, groups, transactions",
        ),
        ([{"name": "x", "grants": [{"topics": "a*b", "rights": ["read"]}]}], [], "no name of topics"),
        ([{"name": "x", "grants": [{"groups": "a", "rights": ["write"]}]}], [], "'write' is no right on groups"),
        ([], [{"name": "."}], "topic '.'"),
        ([], [{"name": "x"}, {"name": "x"}], "declared twice"),
        ([], [{"name": "x", "partitions": True}], "partitions must be"),
        ([], [{"name": "x", "retention": "1w"}], "retention is such as"),
        ([], [{"name": "x", "cleanup": "burn"}], "cleanup is"),
        ([], [{"name": "x", "replicas": 2}], "unknown key replicas"),
        ([], [{"name": "x", "grants": {"nobody": ["read"]}}], "aren't declared: nobody"),
        ({}, [], "users: must be a list"),
    ],
)
def test_what_is_wrong_is_said(users: Any, topics: Any, message: str) -> None:
    with pytest.raises(SettingsError, match="declaration") as caught:
        read(users, topics)
    assert message in str(caught.value)


def test_all_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read([{"name": "a b"}], [{"name": "c d"}, {"name": "x", "partitions": -1}])
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "expected"), [("30m", "1800000"), ("7d", "604800000"), ("forever", "-1"), ("7", None), ("0d", None)]
)
def test_retention(text: str, expected: str | None) -> None:
    assert retention_ms(text) == expected


def test_a_topic_that_is_as_declared_is_left_alone() -> None:
    plan = plan_topics([Topic("x", 2, {"a": "1"})], {"x": Present(2, {"a": "1"})})
    assert (plan.make, plan.partitions, plan.set, plan.problems) == ((), {}, {}, ())


def test_a_topic_is_brought_to_what_is_declared() -> None:
    declared = [Topic("new"), Topic("x", 4, {"a": "2"}), Topic("y", None, {})]
    plan = plan_topics(declared, {"x": Present(2, {"a": "1", "b": "1"}), "y": Present(8, {}), "z": Present(1, {})})
    assert [topic.name for topic in plan.make] == ["new"]
    assert plan.partitions == {"x": 4}
    assert plan.set == {"x": {"a": "2", "b": None}}
    assert plan.problems == ()


def test_partitions_are_never_taken_away() -> None:
    plan = plan_topics([Topic("x", 1)], {"x": Present(3, {})})
    assert plan.partitions == {}
    assert "has 3 partitions, and 1 are declared" in plan.problems[0]


NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,20}\*?", fullmatch=True) | st.just("*")
GRANTS = st.sampled_from(list(RIGHTS)).flatmap(
    lambda kind: st.builds(Grant, st.sampled_from(["a", "b", "c"]), st.just(kind), NAMES, st.sampled_from(RIGHTS[kind]))
)


@settings(max_examples=60)
@given(GRANTS)
def test_a_grant_comes_back_as_it_was(grant: Grant) -> None:
    assert acls.to_grant(acls.to_acl(grant)) == grant


@settings(max_examples=60)
@given(st.frozensets(GRANTS), st.frozensets(GRANTS), st.sets(st.sampled_from(["a", "b", "c"])))
def test_grants_become_what_is_declared(declared: frozenset[Grant], present: frozenset[Grant], users: set[str]) -> None:
    add, remove = plan_grants(declared, present, users)
    after = (present | set(add)) - set(remove)
    assert declared <= after
    assert {grant for grant in after - declared if grant.user in users} == set()
    assert all(grant.user in users for grant in remove)
