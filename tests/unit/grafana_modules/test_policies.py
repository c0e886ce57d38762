# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.policies import (
    from_provisioning,
    from_resource,
    parse,
    receivers_in,
    to_provisioning,
    to_resource,
)
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2, unique=True)
TIMES = st.sampled_from(["30s", "90s", "1m30s", 60, "1h"])
MATCHERS = st.lists(
    st.sampled_from(["severity=critical", 'team != "a b"', "model=~phi.*", ["x", "!~", "y"]])
    | st.fixed_dictionaries({"label": st.just("z"), "operator": st.just("="), "value": st.just("")}),
    max_size=3,
)
TIMINGS = {"group_wait": TIMES, "group_interval": TIMES, "repeat_interval": TIMES}
LEAVES = st.fixed_dictionaries(
    {},
    optional={
        "receiver": st.sampled_from(["r", "s"]),
        "matchers": MATCHERS,
        "continue": st.booleans(),
        "group_by": NAMES,
        "mute_time_intervals": NAMES,
        **TIMINGS,
    },
)
ROUTES = st.recursive(
    LEAVES,
    lambda inner: st.builds(lambda leaf, routes: leaf | {"routes": routes}, LEAVES, st.lists(inner, max_size=2)),
    max_leaves=4,
)
TREES = st.fixed_dictionaries(
    {"receiver": st.just("root"), "group_by": NAMES, "routes": st.lists(ROUTES, max_size=3)},
    optional=TIMINGS,
).map(lambda tree: dict.fromkeys(TIMINGS) | tree)


@settings(max_examples=50, deadline=None)
@given(TREES)
def test_a_tree_is_the_same_after_either_server_had_it(given: dict[str, Any]) -> None:
    tree = parse(given)
    assert from_provisioning(to_provisioning(tree)) == tree
    assert from_resource(to_resource(tree)) == tree
    assert parse(dict.fromkeys(TIMINGS) | {"group_by": [], "routes": []} | tree) == tree


def tree(**more: Any) -> dict[str, Any]:
    return {"receiver": "r", "group_by": [], "routes": [], **dict.fromkeys(TIMINGS), **more}


def test_ways_to_write_a_matcher() -> None:
    written = ["a=b", 'c = "d e"', "f=~g=h", "i!=", ["k", "!~", 5], {"label": "m", "operator": "=", "value": "n"}]
    [route] = parse(tree(routes=[{"matchers": written}]))["routes"]
    assert route["matchers"] == [
        ["a", "=", "b"],
        ["c", "=", "d e"],
        ["f", "=~", "g=h"],
        ["i", "!=", ""],
        ["k", "!~", "5"],
        ["m", "=", "n"],
    ]


def test_deprecated_matchers_of_a_server() -> None:
    held = {
        "receiver": "r",
        "routes": [{"match": {"a": "b"}, "match_re": {"c": "d.*"}, "object_matchers": [["e", "!=", "f"]]}],
    }
    [route] = from_provisioning(held)["routes"]
    assert route["matchers"] == [["a", "=", "b"], ["c", "=~", "d.*"], ["e", "!=", "f"]]


def test_the_contact_points_that_a_tree_names() -> None:
    nested = parse(tree(routes=[{"receiver": "s", "routes": [{"receiver": "t"}, {}]}]))
    # The last takes over the one from above: Grafana 10.0 asks for one in each route.
    assert list(receivers_in(nested)) == ["r", "s", "t", "s"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"receiver": ""}, "^receiver: the tree needs"),
        ({"routes": [{"reciever": "x"}]}, r"^routes\[0\]\.reciever: a route has none of that name"),
        ({"routes": [{"routes": [{"matchers": ["a"]}]}]}, r"^routes\[0\]\.routes\[0\]\.matchers\[0\]: must be such as"),
        ({"routes": [{"matchers": "a=b"}]}, r"^routes\[0\]\.matchers: must be a list"),
        ({"routes": [{"matchers": [["a", "==", "b"]]}]}, r"^routes\[0\]\.matchers\[0\]: must be such as"),
        ({"routes": ["x"]}, r"^routes\[0\]: must be a dictionary"),
        ({"routes": [{"continue": "perhaps"}]}, r"^routes\[0\]\.continue: must be true or false"),
        ({"repeat_interval": "0s"}, "^repeat_interval: must be above 0"),
        ({"group_by": ["a", "a"]}, "^group_by: each must be given once"),
        ({"group_wait": "soon"}, "^group_wait: 'soon' is not a duration"),
    ],
)
def test_what_grafana_would_refuse(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(tree(**options))
