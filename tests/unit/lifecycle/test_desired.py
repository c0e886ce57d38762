# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What should serve, by table, and what holds whatever the registry says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from _model_spec import Platform
from _workload import parse
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_runtime.lifecycle.ledger.models import ALIASES, Model
from mlops_runtime.lifecycle.serving.desired import Plan, Version, desired, documents

SPEC = json.dumps({"schema": 1, "name": "m"})
TWICE = json.dumps({"schema": 1, "name": "m", "replicas": 2})
BROKEN = json.dumps({"schema": 1, "name": "m", "replicas": "two"})
PLATFORM = Platform("mlops")


def version(number: str, build: str = "a") -> Version:
    return Version(number, "model-0123456789ab", f"registry:5000/model@sha256:{build * 64}", "c0ffee")


ONE, TWO = version("1"), version("2")
HELD = "its image has yet to be built"


@pytest.mark.parametrize(
    ("aliases", "spec", "versions", "last", "roles", "served_spec", "problems"),
    [
        ({"champion": "1"}, SPEC, {"1": ONE}, None, {"champion": "1"}, SPEC, []),
        ({"champion": "2"}, SPEC, {"2": TWO}, Plan(SPEC, {"champion": ONE}), {"champion": "2"}, SPEC, []),
        (
            {"champion": "2", "challenger": "1"}, SPEC, {"1": ONE, "2": TWO}, None,
            {"champion": "2", "challenger": "1"}, SPEC, [],
        ),
        # What can't run takes nothing away.
        ({"champion": "2"}, SPEC, {"2": HELD}, Plan(SPEC, {"champion": ONE}), {"champion": "1"}, SPEC,
         [f"champion: version 2 is held: {HELD}"]),
        ({"champion": "2"}, SPEC, {"2": HELD}, None, None, "", [f"champion: version 2 is held: {HELD}"]),
        ({"champion": "2"}, SPEC, {}, None, None, "", ["champion: version 2 is held: nothing is known of it yet"]),
        ({"champion": "1", "shadow": "2"}, SPEC, {"1": ONE, "2": HELD}, None, {"champion": "1"}, SPEC,
         [f"shadow: version 2 is held: {HELD}"]),
        # Nor does a declaration that can't be read.
        ({"champion": "2"}, BROKEN, {"2": TWO}, Plan(TWICE, {"champion": ONE}), {"champion": "2"}, TWICE,
         ["mlops.spec.replicas: 'two' is not a whole number from 0 to 1000"]),
        ({"champion": "1"}, BROKEN, {"1": ONE}, None, None, "",
         ["mlops.spec.replicas: 'two' is not a whole number from 0 to 1000"]),
        # An alias that was removed does.
        ({}, SPEC, {}, Plan(SPEC, {"champion": ONE}), None, "", []),
        ({"shadow": "2"}, SPEC, {"2": TWO}, Plan(SPEC, {"champion": ONE}), None, "", []),
        ({"champion": "1"}, SPEC, {"1": ONE}, Plan(SPEC, {"champion": ONE, "shadow": TWO}), {"champion": "1"}, SPEC,
         []),
    ],
)  # fmt: skip
def test_by_table(
    aliases: dict[str, str], spec: str, versions: dict[str, Version | str], last: Plan | None,
    roles: dict[str, str] | None, served_spec: str, problems: list[str],
) -> None:  # fmt: skip
    found = desired(
        {"m": Model("m", spec, aliases)},
        {("m", number): fact for number, fact in versions.items()},
        {"m": last} if last else {},
    )
    assert list(found.problems.get("m", ())) == problems
    if roles is None:
        assert found.plans == {}
    else:
        assert {role: one.version for role, one in found.plans["m"].roles.items()} == roles
        assert found.plans["m"].spec == served_spec


def test_a_model_that_is_gone_serves_no_more() -> None:
    assert desired({}, {}, {"m": Plan(SPEC, {"champion": ONE})}).plans == {}


def test_two_builds_of_one_environment_serve_side_by_side() -> None:
    plan = Plan(SPEC, {"champion": version("2", "b"), "challenger": version("1", "a")})
    document = documents({"m": plan}, PLATFORM)
    references = {item["name"]: document["images"][item["image"]] for item in document["workloads"]}
    assert references == {name: f"registry:5000/model@sha256:{build * 64}" for name, build in
                          (("model-m", "b"), ("model-m--b", "a"))}  # fmt: skip
    assert "model-0123456789ab" in document["images"]


names = st.sampled_from(["a", "b", "c-d"])
numbers = st.sampled_from(["1", "2", "3"])
facts = st.builds(version, numbers, st.sampled_from("ab"))


@st.composite
def registries(draw: st.DrawFn) -> tuple[dict[str, Model], dict[tuple[str, str], Version | str], dict[str, Plan]]:
    def spec(name: str) -> str:
        return json.dumps({"schema": 1, "name": name, "replicas": draw(st.sampled_from([1, 2]))})

    aliases = st.dictionaries(st.sampled_from(ALIASES), numbers)
    models = {
        name: Model(name, draw(st.sampled_from([spec(name), "{"])), draw(aliases)) for name in draw(st.sets(names))
    }
    versions: dict[tuple[str, str], Version | str] = {
        (name, number): draw(st.sampled_from([version(number, "a"), version(number, "b"), HELD]))
        for name in models
        for number in draw(st.sets(numbers))
    }
    last = {
        name: Plan(spec(name), {"champion": draw(facts), **draw(st.dictionaries(st.just("shadow"), facts))})
        for name in draw(st.sets(names))
    }
    return models, versions, last


@settings(max_examples=40, deadline=None)
@given(registries())
def test_whatever_the_registry_says(found: Any) -> None:
    models, versions, last = found
    result = desired(models, versions, last)
    document = documents(result.plans, PLATFORM)
    workloads: list[dict[str, Any]] = document["workloads"]
    # The seam takes it, each workload once, with its image.
    assert len({item["name"] for item in workloads}) == len(workloads) == len(parse(workloads))
    assert {item["image"] for item in workloads} == set(document["images"])
    labels = [item["labels"] for item in workloads]
    serving = {(one["model"], one["model.role"]): one["model.version"] for one in labels}
    for name, model in models.items():
        champion = model.aliases.get("champion")
        if champion is None:
            assert not any(key[0] == name for key in serving)
            continue
        usable = isinstance(versions.get((name, champion)), Version)
        if usable and model.spec != "{":
            assert serving[name, "champion"] == champion
        elif name in last:
            assert (name, "champion") in serving  # nothing is taken away
            assert name in result.problems
    assert {name for name, _ in serving} <= set(models)
    # Once it serves, the same registry asks for nothing else.
    assert desired(models, versions, result.plans) == result
    assert documents(desired(dict(reversed(models.items())), versions, last).plans, PLATFORM) == document


def test_what_the_site_bends_is_bent_where_it_is_served() -> None:
    overrides = {"model-m": {"replicas": 3, "env": {"A": "1"}}, "model-gone": {"replicas": 2}}
    plan = {"m": Plan(SPEC, {"champion": ONE, "shadow": TWO})}
    champion, shadow = documents(plan, PLATFORM, overrides)["workloads"]
    plain, other = documents(plan, PLATFORM)["workloads"]
    assert champion == {**plain, "replicas": 3, "env": {**plain["env"], "A": "1"}}
    assert shadow == other
