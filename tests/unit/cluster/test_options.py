# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._docker import options
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from hypothesis import given
from hypothesis import strategies as st

ROTATE = {"max-size": "10m", "max-file": "3"}
OURS: dict[str, Any] = {"live-restore": False}

VALUES = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["live-restore", "log-driver", "log-opts", "registry-mirrors", "labels", "data-root", "debug", "mtu"]
)
FILES = st.dictionaries(KEYS, VALUES, max_size=6)


def test_a_blank_host() -> None:
    plan = options.merged({}, OURS, ROTATE)
    assert plan.after == {"live-restore": False, "log-driver": "json-file", "log-opts": ROTATE}
    assert plan.changed == ["live-restore", "log-driver", "log-opts"]


def test_the_operators_keys_stay() -> None:
    existing = {
        "data-root": "/srv/docker",
        "log-opts": {"max-size": "1g", "labels": "x"},
        "registry-mirrors": ["https://m"],
    }
    plan = options.merged(existing, {"registry-mirrors": ["https://ours"]}, ROTATE)
    assert plan.after["data-root"] == "/srv/docker"
    assert plan.after["log-opts"] == {"max-size": "10m", "max-file": "3", "labels": "x"}
    assert plan.after["registry-mirrors"] == ["https://m", "https://ours"]


def test_another_log_driver_stays() -> None:
    existing = {"log-driver": "journald", "log-opts": {"tag": "x"}}
    assert options.merged(existing, {}, ROTATE).changed == []


def test_generic_resources_are_replaced() -> None:
    key = "node-generic-resources"
    assert options.merged({key: ["gpu=1", "gpu=2"]}, {key: ["gpu=1"]}, {}).after == {key: ["gpu=1"]}


def test_what_is_a_flag_already_stays_out_of_the_file() -> None:
    given_flags = options.flags(["dockerd", "-H", "fd://", "--log-opt=max-size=1m", "--log-driver", "json-file", "-D"])
    assert given_flags >= {"log-opts", "log-driver", "debug"}
    plan = options.merged({}, {"debug": True, **OURS}, ROTATE, given_flags)
    assert plan.after == {"live-restore": False}
    assert plan.skipped == ("debug",)


def test_saying_the_default_makes_no_difference() -> None:
    plan = options.merged({}, OURS, {})
    assert plan.changed == ["live-restore"]
    assert plan.noticed == []


def test_what_a_running_engine_takes_over() -> None:
    plan = options.merged({"live-restore": True}, {**OURS, "insecure-registries": ["a:5000"]}, ROTATE)
    assert plan.reloaded == ["insecure-registries", "live-restore"]
    assert plan.awaiting_restart == ["log-opts"]
    gone = options.OptionsPlan({"debug": True}, {})
    assert (gone.reloaded, gone.awaiting_restart) == ([], ["debug"])


@given(FILES, FILES)
def test_merging_twice_changes_nothing_more(existing: dict[str, Any], wanted: dict[str, Any]) -> None:
    once = options.merged(existing, wanted, ROTATE).after
    assert options.merged(once, wanted, ROTATE).changed == []


@given(FILES)
def test_what_was_added_to_a_host_can_be_withdrawn(existing: dict[str, Any]) -> None:
    ours = {"live-restore": False, "insecure-registries": ["a:5000"]}
    foreign = {key: value for key, value in existing.items() if key not in {*ours, "log-driver", "log-opts"}}
    after = options.merged(foreign, ours, ROTATE).after
    assert options.without(after, options.added(foreign, after)) == foreign


def test_withdrawing_leaves_what_is_the_operators() -> None:
    before = {"log-opts": {"labels": "x"}, "registry-mirrors": ["https://m"], "debug": True}
    after = options.merged(before, {"registry-mirrors": ["https://m", "https://n"], "debug": True}, ROTATE).after
    record = options.added(before, after)
    assert record == {"log-driver": "json-file", "log-opts": ROTATE, "registry-mirrors": ["https://n"]}
    after["log-opts"]["max-size"] = "99m"
    assert options.without(after, record) == {**before, "log-opts": {"labels": "x", "max-size": "99m"}}


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[]", "no JSON object")])
def test_a_file_that_docker_could_not_read(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        options.read(file)
    assert options.read(tmp_path / "none.json") == {}
