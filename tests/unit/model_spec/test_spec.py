# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The declaration: what is read, what is refused and how it is said, and what the registry keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import (
    InvalidModel,
    ModelSpec,
    from_tag,
    parse_model,
    parse_models,
    seconds,
)
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec.drift import Records
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec.spec import NAME_PATTERN
from hypothesis import given, settings
from hypothesis import strategies as st

SHORT = {"name": "iris", "source": {"path": "model"}, "requirements": "requirements.txt"}
FULL: dict[str, Any] = {
    "name": "fraud-2",
    "description": "Is it fraud?",
    "source": {"run": {"id": "abc123", "path": "best"}},
    "datasets": [{"name": "train", "path": "train.csv"}, {"name": "test", "path": "test.csv", "context": "test"}],
    "requirements": "requirements.txt",
    "python": "python313",
    "runtime": "mlops",
    "class": {"name": "fraud.model.Fraud", "code": "src"},
    "parameters": {"threshold": 0.5, "top": 3, "strict": True, "mode": "fast"},
    "replicas": 2,
    "resources": {"requests": {"cpu": 0.5, "memory": "512Mi"}, "limits": {"cpu": 1, "memory": "1Gi", "gpu": 1}},
    "batching": {"max_rows": 128, "wait_ms": 2.5},
    "tags": {"team": "risk", "tier": 1},
    "placement": {"labels": {"disk": "ssd"}, "spread": "node"},
    "env": {"OMP_NUM_THREADS": 1, "DEBUG": False},
    "promote": "always",
    "example": {"names": ["a", "b"], "rows": [[1, None], ["x", 2.5]]},
    "drift": {
        "detectors": [
            "ewma",
            {"kind": "rff", "expected_run_time": 20000},
            {"kind": "ks", "name": "hourly", "window": "1h"},
        ],
        "labels": True,
        "archive": {"retention": "90d"},
    },
    "records": {"sample": 0.5, "partitions": 3, "retention": "3d"},
    "retraining": {
        "flow": "training/flows.py:retrain",
        "schedule": {"cron": "0 3 * * 0", "timezone": "Europe/Berlin"},
        "on": [
            {"drift": True, "for": "2m"},
            {"performance": "f1", "below": 0.9},
            {"promql": 'rate(errors{model="fraud-2"}[5m])', "above": 0.25},
        ],
        "action": "ask",
        "cooldown": "6h",
        "gate": {"metric": "f1", "minimum_gain": 0.01, "maximum_loss": 0.05},
        "promotion": "manual",
    },
}
GATE = {"gate": {"metric": "f1"}}
FLOW = {"flow": "flows.py:retrain"}
ON = {"on": [{"promql": "up", "below": 1}]}
SOUND = {**FLOW, **GATE, **ON}


def spec_of(value: Any) -> ModelSpec:
    spec, problems = parse_model(value, "mlops_models[0]")
    assert problems == []
    assert spec is not None
    return spec


def problems_of(**changes: Any) -> list[str]:
    return parse_models([{**SHORT, **changes}])[1]


def test_the_short_declaration_has_sound_defaults() -> None:
    spec = spec_of(SHORT)
    assert (spec.replicas, spec.method, spec.runtime, spec.promote) == (1, "predict", "mlops", "first")
    assert json.loads(spec.to_tag()) == {"schema": 1, "name": "iris"}


def test_the_full_declaration_is_read_whole() -> None:
    spec = spec_of(FULL)
    assert spec.source is not None
    assert (spec.source.run_id, spec.source.run_path) == ("abc123", "best")
    assert [dataset.context for dataset in spec.datasets] == ["train", "test"]
    assert spec.env == {"OMP_NUM_THREADS": "1", "DEBUG": "false"}
    assert spec.tags == {"team": "risk", "tier": "1"}
    assert spec.resources.requests.gpu == spec.resources.limits.gpu == 1
    assert spec.example is not None and spec.example.rows == ((1, None), ("x", 2.5))
    assert spec.drift is not None and spec.records is not None
    assert [(one.kind, one.name, dict(one.parameters)) for one in spec.drift.detectors] == [
        ("ewma", "ewma", {}),
        ("rff", "rff", {"expected_run_time": 20000}),
        ("ks", "hourly", {"window": "1h"}),
    ]
    assert (spec.records.sample, spec.records.partitions) == (0.5, 3)


def test_who_is_watched_is_logged() -> None:
    watched = spec_of({**SHORT, "drift": {"detectors": ["ewma"], "artefact": "build/drift"}})
    assert watched.records == Records() and spec_of({**SHORT, "records": {}}).records == Records()
    assert spec_of(SHORT).records is None
    assert json.loads(watched.to_tag()) == {"schema": 1, "name": "iris", "drift": {"detectors": ["ewma"]}}
    assert from_tag(watched.to_tag()).records == Records()


def test_a_detector_of_alibi_has_a_name_that_files_may_have() -> None:
    spec = spec_of({**SHORT, "drift": {"detectors": ["alibi:mmd_online"], "artefact": "d"}})
    assert spec.drift is not None and spec.drift.detectors[0].name == "alibi-mmd_online"
    assert spec.drift.detectors[0].declared() == "alibi:mmd_online"


def test_the_registry_keeps_what_serves_and_no_paths() -> None:
    tag = spec_of(FULL).to_tag()
    kept = from_tag(tag)
    assert kept.to_tag() == tag
    assert kept.parameters == FULL["parameters"]
    assert kept.source is None and kept.datasets == () and kept.requirements == ""
    assert "src" not in tag and "csv" not in tag and "requirements.txt" not in tag


@pytest.mark.parametrize("tag", ["", "[]", "{}", '{"schema":2,"name":"x"}', '{"schema":1}', '{"schema":1,"name":"X"}'])
def test_what_the_registry_keeps_may_be_no_spec(tag: str) -> None:
    with pytest.raises(InvalidModel, match=r"mlops\.spec"):
        from_tag(tag)


def test_all_problems_of_all_models_come_at_once() -> None:
    found = parse_models(
        [
            {**SHORT, "runtime": "seldon"},
            {**SHORT, "name": "Bad_Name", "replicas": "3"},
            {**SHORT, "sorce": 1},
            "text",
        ]
    )[1]
    assert [line.split(": ")[0] for line in found] == [
        "mlops_models[0].runtime",
        "mlops_models[1].name",
        "mlops_models[1].replicas",
        "mlops_models[2]",
        "mlops_models[3]",
        "mlops_models[2].name",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "mlops_models[0].name: is missing; give the model a name, such as 'phishing'"),
        ({"name": "a--b"}, "mlops_models[0].name: 'a--b' is not DNS-safe"),
        ({"name": "a" * 31}, "is not DNS-safe: at most 30"),
        (
            {"runtime": "mlop"},
            "mlops_models[0].runtime: 'mlop' is not one of mlops, seldon_core; did you mean 'mlops'?",
        ),
        ({"source": {}}, "mlops_models[0].source: needs exactly one of path, uri and run"),
        ({"source": {"path": "a", "uri": "s3://b/c"}}, "and has path and uri"),
        ({"source": {"uri": "b/c"}}, "mlops_models[0].source.uri: 'b/c' is not a URI"),
        ({"source": {"run": {}}}, "mlops_models[0].source.run.id: is missing"),
        ({"source": {"uri": "s3://b/c", "prepare": {"command": ["make"]}}}, "it goes with source.path only"),
        ({"source": {"path": "a", "prepare": {"command": []}}}, "mlops_models[0].source.prepare.command: is empty"),
        ({"source": {"path": "a", "prepare": {"command": "make"}}}, "prepare.command: must be a list, not a string"),
        ({"requirements": None}, "mlops_models[0].requirements: is missing; name the lock file"),
        ({"replicas": True}, "mlops_models[0].replicas: True is not a whole number"),
        ({"env": {"MLFLOW_TRACKING_URI": "x"}}, "mlops_models[0].env.MLFLOW_TRACKING_URI: is set by the platform"),
        ({"env": {"A B": "x"}}, "mlops_models[0].env: 'A B' is not the name of an environment variable"),
        ({"env": {"A": ["x"]}}, "mlops_models[0].env.A: must be a string, a number or a boolean, not a list"),
        ({"tags": {"mlops.spec": "x"}}, "mlops_models[0].tags: 'mlops.spec' is no tag's name, or the platform's own"),
        ({"resources": {"limits": {"memory": "1 GB"}}}, "resources.limits.memory: '1 GB' is not an amount of memory"),
        ({"resources": {"requests": {"cpu": 3}, "limits": {"cpu": 2}}}, "requests.cpu 3 is above limits.cpu 2"),
        (
            {"class": {"name": "a b", "code": "src"}},
            "mlops_models[0].class.name: 'a b' is not the name of a Python class",
        ),
        ({"class": {"name": "A"}}, "mlops_models[0].class.code: is missing"),
        ({"class": {"name": "A", "code": "src"}, "method": "predict"}, "mlops_models[0].method: is for models without"),
        ({"runtime": "seldon_core", "batching": {}}, "mlops_models[0].batching: Seldon's own server doesn't batch"),
        ({"datasets": [{"name": "a", "path": "b"}] * 2}, "datasets[1].name: 'a' is the name of another data set"),
        ({"example": {"names": ["a"], "rows": [[1, 2]]}}, "example.rows[0]: has 2 values, and names has 1"),
        ({"method": "predict_probe"}, "did you mean 'predict_proba'?"),
        ({"drift": ["ewma"]}, "mlops_models[0].drift: must be a mapping, not a list"),
        ({"drift": {"artefact": "d"}}, "mlops_models[0].drift.detectors: is missing; name what watches the model"),
        ({"drift": {"artefact": "d", "detectors": []}}, "mlops_models[0].drift.detectors: is empty"),
        ({"drift": {"artefact": "d", "detectors": ["emwa"]}}, "drift.detectors[0]: 'emwa' is not one of ewma, rff"),
        (
            {"drift": {"artefact": "d", "detectors": ["alibi:"]}},
            "drift.detectors[0]: 'alibi:' names no detector of Ali",
        ),
        ({"drift": {"artefact": "d", "detectors": [{"name": "a"}]}}, "drift.detectors[0].kind: is missing"),
        (
            {"drift": {"artefact": "d", "detectors": ["ks", {"kind": "ks"}]}},
            "detectors[1]: 'ks' is the name of another",
        ),
        (
            {"drift": {"artefact": "d", "detectors": [{"kind": "ewma", "expected_run_time": 1}]}},
            "drift.detectors[0].expected_run_time: 1 is not a whole number from 10",
        ),
        (
            {"drift": {"artefact": "d", "detectors": [{"kind": "ewma", "features": ["a"]}]}},
            "drift.detectors[0].features: must be a string, a number or a boolean, not a list",
        ),
        ({"drift": {"detectors": ["ewma"]}}, "mlops_models[0].drift.artefact: is missing; name the directory"),
        (
            {"source": {"uri": "s3://b/c"}, "drift": {"detectors": ["ewma"], "artefact": "d"}},
            "mlops_models[0].drift.artefact: goes with source.path",
        ),
        ({"drift": {"detectors": ["ewma"], "artefact": "d", "labels": "yes"}}, "drift.labels: must be true or false"),
        (
            {"drift": {"detectors": ["ewma"], "artefact": "d", "archive": {"retention": "1 y"}}},
            "drift.archive.retention: '1 y' is no time such as 12h, 30d, 8w or 2y",
        ),
        ({"records": {"sample": 2}}, "mlops_models[0].records.sample: 2 is not a number from 0.0001 to 1"),
        (
            {"records": {"retention": "1y"}},
            "mlops_models[0].records.retention: '1y' is no time such as 12h, 30d or forever",
        ),
        ({"records": {"smaple": 1}}, "mlops_models[0].records: unknown key 'smaple'; did you mean 'sample'?"),
        ({"runtime": "seldon_core", "records": {}}, "mlops_models[0].records: Seldon's own server logs no predictions"),
        (
            {"runtime": "seldon_core", "drift": {"detectors": ["ewma"], "artefact": "d"}},
            "mlops_models[0].drift: Seldon's own server logs no predictions",
        ),
        ({"retraining": ["drift"]}, "mlops_models[0].retraining: must be a mapping, not a list"),
        ({"retraining": {**FLOW, **GATE}}, "mlops_models[0].retraining: has neither on nor schedule"),
        ({"retraining": {**GATE, **ON}}, "mlops_models[0].retraining.flow: is missing; name the flow"),
        ({"retraining": {**SOUND, "flow": "flows.py"}}, "retraining.flow: 'flows.py' is no flow, such as"),
        ({"retraining": {**FLOW, **ON}}, "mlops_models[0].retraining.gate: is missing; name the metric"),
        ({"retraining": {**SOUND, "gate": {}}}, "mlops_models[0].retraining.gate.metric: is missing"),
        (
            {"retraining": {**SOUND, "gate": {"metric": "f1", "maximum_loss": -0.1}}},
            "mlops_models[0].retraining.gate.maximum_loss: -0.1 is not a number from 0",
        ),
        ({"retraining": {**SOUND, "action": "retain"}}, "retraining.action: 'retain' is not one of retrain, notify"),
        ({"retraining": {**SOUND, "promotion": "first"}}, "retraining.promotion: 'first' is not one of auto, manual"),
        ({"retraining": {**SOUND, "cooldown": 60}}, "mlops_models[0].retraining.cooldown: 60 is no time such as 30s"),
        ({"retraining": {**SOUND, "cooldwon": "1h"}}, "unknown key 'cooldwon'; did you mean 'cooldown'?"),
        ({"retraining": {**SOUND, "on": {"drift": True}}}, "retraining.on: must be a list, not a mapping"),
        ({"retraining": {**SOUND, "on": [{}]}}, "retraining.on[0]: needs exactly one of drift, performance, promql"),
        ({"retraining": {**SOUND, "on": [{"drift": True}]}}, "retraining.on[0].drift: nothing watches the model"),
        (
            {"retraining": {**SOUND, "on": [{"performance": "f1", "below": 0.9}]}},
            "mlops_models[0].retraining.on[0].performance: performance is measured from labels",
        ),
        ({"retraining": {**SOUND, "on": [{"promql": "up"}]}}, "retraining.on[0]: needs exactly one of above and below"),
        ({"retraining": {**SOUND, "on": [{"promql": " ", "above": 1}]}}, "on[0].promql: ' ' is no PromQL expression"),
        (
            {"retraining": {**SOUND, "on": [{"promql": "up", "above": "1"}]}},
            "retraining.on[0].above: '1' is not a number",
        ),
        (
            {"retraining": {**SOUND, "on": [{"promql": "up", "above": 1, "for": "2 minutes"}]}},
            "mlops_models[0].retraining.on[0].for: '2 minutes' is no time such as 30s, 2m",
        ),
        ({"retraining": {**SOUND, "schedule": {}}}, "retraining.schedule: needs exactly one of cron and interval"),
        (
            {"retraining": {**SOUND, "schedule": {"cron": "daily"}}},
            "retraining.schedule.cron: 'daily' is no cron line of five fields",
        ),
        ({"retraining": {**SOUND, "schedule": {"interval": "0s"}}}, "schedule.interval: '0s' is no time"),
        (
            {"retraining": {**ON, "action": "notify", "schedule": {"interval": "1d"}}},
            "mlops_models[0].retraining.schedule: starts runs, and action is notify",
        ),
    ],
)
def test_bad_input_gets_one_clear_message(changes: dict[str, Any], message: str) -> None:
    found = problems_of(**changes)
    assert len(found) == 1, found
    assert message in found[0]


def test_the_key_on_is_read_though_yaml_takes_it_for_true() -> None:
    declared = yaml.safe_load("flow: flows.py:retrain\ngate: {metric: f1}\non: [{promql: up, below: 1, for: 0s}]")
    assert True in declared
    retraining = spec_of({**SHORT, "retraining": declared}).retraining
    assert retraining is not None
    assert [(one.kind, one.subject, one.side, one.limit, one.held) for one in retraining.on] == [
        ("promql", "up", "below", 1.0, "0s")
    ]


def test_who_is_only_notified_needs_neither_flow_nor_gate() -> None:
    retraining = spec_of({**SHORT, "retraining": {**ON, "action": "notify"}}).retraining
    assert retraining is not None
    assert (retraining.action, retraining.cooldown, retraining.gate) == ("notify", "1h", None)


@pytest.mark.parametrize(("time", "found"), [("0s", 0), ("90s", 90), ("2m", 120), ("1h", 3600), ("2w", 1209600)])
def test_a_time_in_seconds(time: str, found: int) -> None:
    assert seconds(time) == found


@pytest.mark.parametrize("time", ["", "m", "2", "-1s", "2 m"])
def test_what_is_no_time(time: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        seconds(time)


def test_two_models_of_one_name() -> None:
    _, found = parse_models([SHORT, SHORT, SHORT])
    assert found == [
        "mlops_models[1].name: 'iris' is the name of mlops_models[0] too; give each model its own",
        "mlops_models[2].name: 'iris' is the name of mlops_models[0] too; give each model its own",
    ]


@pytest.mark.parametrize(("length", "fits"), [(4000, True), (5000, False)])
def test_the_registry_keeps_5000_characters(length: int, fits: bool) -> None:
    found = problems_of(description="ä" * length)
    assert (found == []) == fits
    assert fits or "characters long as JSON, and the registry keeps 5000" in found[0]


def test_a_request_above_the_default_limit_raises_the_limit() -> None:
    spec = spec_of({**SHORT, "resources": {"requests": {"cpu": 4, "memory": "8Gi"}}})
    assert (spec.resources.limits.cpu, spec.resources.limits.memory) == (4, "8Gi")


def test_a_limit_below_the_default_request_lowers_the_request() -> None:
    spec = spec_of({**SHORT, "resources": {"limits": {"cpu": 0.05, "memory": "128Mi"}}})
    assert (spec.resources.requests.cpu, spec.resources.requests.memory) == (0.05, "128Mi")


names = st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda name: len(name) <= 30)
scalars = st.one_of(
    st.text(max_size=20), st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)
)
identifiers = st.from_regex(r"X[A-Z0-9_]{0,8}", fullmatch=True)
detectors = st.sampled_from(["ewma", "alibi:lsdd"]) | st.fixed_dictionaries(
    {"kind": st.sampled_from(["rff", "alibi:mmd"])},
    optional={"name": st.just("mine"), "expected_run_time": st.integers(10, 10**9)},
)

times = st.builds("{}{}".format, st.integers(1, 999), st.sampled_from("smhdw"))
triggers = st.one_of(
    st.fixed_dictionaries(
        {"promql": st.just("up"), "above": st.integers(-9, 9) | st.floats(-1e9, 1e9)}, optional={"for": times}
    ),
    st.fixed_dictionaries({"promql": st.just("up"), "below": st.floats(-1, 1)}),
)
retrainings = st.fixed_dictionaries(
    {
        "flow": st.just("flows.py:retrain"),
        "on": st.lists(triggers, min_size=1, max_size=3),
        "gate": st.fixed_dictionaries(
            {"metric": st.sampled_from(["f1", "rmse"])},
            optional={"minimum_gain": st.floats(-1, 1), "maximum_loss": st.floats(0, 1)},
        ),
    },
    optional={
        "schedule": st.sampled_from([{"cron": "*/5 3 * * MON-FRI"}, {"interval": "7d"}]),
        "action": st.sampled_from(["retrain", "ask"]),
        "cooldown": times,
        "promotion": st.sampled_from(["auto", "manual"]),
    },
)


@given(
    st.fixed_dictionaries(
        {"name": names},
        optional={
            "description": st.text(max_size=50),
            "parameters": st.dictionaries(identifiers, scalars, max_size=4),
            "env": st.dictionaries(identifiers, scalars, max_size=4),
            "replicas": st.integers(0, 1000),
            "promote": st.sampled_from(["first", "always"]),
            "batching": st.fixed_dictionaries({}, optional={"max_rows": st.integers(1, 1000)}),
            "placement": st.fixed_dictionaries({}, optional={"spread": st.just("node")}),
            "records": st.fixed_dictionaries(
                {}, optional={"sample": st.floats(0.0001, 1), "partitions": st.integers(1, 99)}
            ),
            "drift": st.fixed_dictionaries(
                {"detectors": st.lists(detectors, min_size=1, max_size=1), "artefact": st.just("build/drift")},
                optional={"labels": st.booleans(), "archive": st.sampled_from([{}, {"retention": "7d"}])},
            ),
        },
    )
)
def test_what_the_registry_keeps_reads_back_equal(value: dict[str, Any]) -> None:
    spec = spec_of({**SHORT, **value})
    kept = from_tag(spec.to_tag())
    assert kept.to_tag() == spec.to_tag()
    assert (kept.parameters, kept.env, kept.replicas) == (spec.parameters, spec.env, spec.replicas)
    assert kept.records == spec.records
    assert (kept.drift is None) == (spec.drift is None)
    if kept.drift and spec.drift:
        assert kept.drift == replace(spec.drift, artefact="")


@settings(deadline=None)
@given(retrainings)
def test_what_the_registry_keeps_of_retraining_reads_back_equal(value: dict[str, Any]) -> None:
    spec = spec_of({**SHORT, "retraining": value})
    kept = from_tag(spec.to_tag())
    assert spec.retraining is not None
    assert kept.retraining == replace(spec.retraining, flow="")
    assert kept.to_tag() == spec.to_tag()


anything = st.recursive(
    st.none() | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from([*FULL, "nonsense"]), anything) | anything)
def test_no_input_raises(value: Any) -> None:
    _, found = parse_models([value])
    assert all(line.startswith("mlops_models[0]") for line in found)
    parse_models(value)
