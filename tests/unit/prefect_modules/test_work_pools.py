# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.work_pools import (
    Wanted,
    by_name,
    new_pool,
    queues_after,
    settings_after,
    with_defaults,
)

TEMPLATE = {"variables": {"properties": {"image": {"type": "string", "default": "a"}, "env": {"type": "object"}}}}


def test_defaults_go_into_a_copy_of_the_template() -> None:
    made = with_defaults(TEMPLATE, {"image": "b"})
    assert made["variables"]["properties"] == {
        "image": {"type": "string", "default": "b"},
        "env": {"type": "object"},
    }
    assert TEMPLATE["variables"]["properties"]["image"]["default"] == "a"
    with pytest.raises(InputError, match="has no variable imgae; similar ones are image"):
        with_defaults(TEMPLATE, {"imgae": "b"})
    with pytest.raises(InputError, match="there is none at all"):
        with_defaults({}, {"image": "b"})


def test_what_is_not_given_of_the_storage_stays() -> None:
    base = new_pool(Wanted("p", "process")) | {"storage_configuration": {"bundle_upload_step": {"a": 1}}}
    given = {"storage_configuration": {"default_result_storage_block_id": "x"}}
    assert settings_after(Wanted("p", None, given), base) == {
        "storage_configuration": {"bundle_upload_step": {"a": 1}, "default_result_storage_block_id": "x"}
    }


def test_queues_that_go_and_stay() -> None:
    default = by_name(new_pool(Wanted("p", "process"))["queues"])
    held = default | {name: {"name": name, "priority": 2, "paused": False} for name in ("a", "b")}
    remove, after = queues_after(Wanted("p", None, queues={"a": {"paused": True}}), held)
    assert remove == [] and after == held | {"a": {"name": "a", "priority": 2, "paused": True}}
    remove, after = queues_after(Wanted("p", None, absent_queues=frozenset({"b", "never"})), held)
    assert remove == ["b"] and set(after) == {"default", "a"}
    assert queues_after(Wanted("p", None, purge_queues=True), held)[0] == ["a", "b"]
