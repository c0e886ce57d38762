# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.deployments import (
    Wanted,
    bodies_of,
    facts,
    new_deployment,
    settings_after,
)
from hypothesis import given
from hypothesis import strategies as st

SHARED = "shared"


def held(**more: Any) -> dict[str, Any]:
    return {**new_deployment(Wanted("f", "d")), "id": "1", **more}


def test_nothing_to_say_means_no_request() -> None:
    assert bodies_of({"tags": ["a"], "paused": False}, held(tags=["a"]), None) == []


@pytest.mark.parametrize(
    ("settings", "before", "bodies"),
    [
        ({"concurrency_limit": 2}, {}, [{"concurrency_limit": 2}]),
        ({"concurrency_limit": 2}, {"concurrency_limit": 1}, [{"concurrency_limit": 2}]),
        ({"concurrency_limit": None}, {"concurrency_limit": 1}, [{"concurrency_limit": None}]),
        (
            {"concurrency_limit": 2, "global_concurrency_limit": None},
            {"global_concurrency_limit": SHARED},
            [{"global_concurrency_limit_id": None}, {"concurrency_limit": 2}],
        ),
        (
            {"concurrency_limit": None, "global_concurrency_limit": SHARED},
            {"concurrency_limit": 1},
            [{"concurrency_limit": None}, {"global_concurrency_limit_id": "id"}],
        ),
        # Limits that are not spoken of are not touched.
        ({"paused": True}, {"global_concurrency_limit": SHARED}, [{"paused": True}]),
    ],
)
def test_a_limit_that_others_share_is_let_go_first(
    settings: dict[str, Any], before: dict[str, Any], bodies: list[dict[str, Any]]
) -> None:
    assert bodies_of(settings, held(**before), "id") == bodies


@pytest.mark.parametrize(
    ("settings", "body"),
    [
        ({"work_pool": "b"}, {"work_pool_name": "b", "work_queue_name": "default"}),
        ({"work_queue": "slow"}, {"work_pool_name": "a", "work_queue_name": "slow"}),
        ({"job_variables": {"x": 1}}, {"job_variables": {"x": 1}, "work_pool_name": "a", "work_queue_name": "fast"}),
        ({"work_pool": None}, {"work_pool_name": None}),
    ],
)
def test_a_queue_goes_with_its_pool(settings: dict[str, Any], body: dict[str, Any]) -> None:
    before = held(work_pool="a", work_queue="fast")
    assert bodies_of(settings_after(Wanted("f", "d", settings), before), before, None) == [body]


def test_options_of_collisions_go_together() -> None:
    before = held(collision_strategy="cancel_new", grace_period=60)
    assert bodies_of({"grace_period": 90}, before, None) == [
        {"concurrency_options": {"collision_strategy": "CANCEL_NEW", "grace_period_seconds": 90}}
    ]


LIMITS = st.none() | st.integers(1, 3) | st.sampled_from([SHARED, "other"])


@given(LIMITS, LIMITS)
def test_limits_converge(first: Any, second: Any) -> None:
    """At a server that changes what is attached, whoever it belongs to, as Prefect does."""
    limits = {SHARED: 5, "other": 5}
    attached: str | None = None

    def deployment() -> dict[str, Any]:
        limit = {"name": attached, "limit": limits[attached]} if attached else None
        return facts({"id": "1", "name": "d", "global_concurrency_limit": limit}, "f")

    for wanted in (first, second):
        name = "global_concurrency_limit" if isinstance(wanted, str) else "concurrency_limit"
        settings = settings_after(Wanted("f", "d", {name: wanted}), deployment())
        for body in bodies_of(settings, deployment(), settings.get("global_concurrency_limit")):
            if "global_concurrency_limit_id" in body:
                attached = body["global_concurrency_limit_id"]
            elif body["concurrency_limit"] is None:
                del limits[attached or ""]
                attached = None
            else:
                attached = attached or "deployment:1"
                limits[attached] = body["concurrency_limit"]
        assert deployment()[name] == wanted
    assert (limits[SHARED], limits["other"]) == (5, 5)
