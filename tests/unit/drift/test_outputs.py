# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A model's answers as rows of features: what kind they are, what can't be read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mlops_runtime.drift.offline.univariate import TabularDetector
from mlops_runtime.drift.outputs import Outputs
from mlops_runtime.drift.protocol import Feature, Reference


@pytest.mark.parametrize(
    ("predictions", "labels", "expected"),
    [
        ([[0.2, 0.8], [0.9, 0.1]], [0, 1], Outputs("probabilities", ("0", "1"), 2)),
        ([[0.2], [0.9]], [0, 1], Outputs("probabilities", ("0", "1"), 1)),
        ([0.2, 0.9], ["no", "yes"], Outputs("probabilities", ("no", "yes"), 1)),
        ([["no"], ["yes"]], ["yes", "no"], Outputs("label", ("no", "yes"))),
        ([[1], [10], [2]], [1, 2, 10], Outputs("label", ("1", "2", "10"))),
        ([["no"], ["yes"]], [], Outputs("label", ("no", "yes"))),
        ([[1.5], [2.5]], [1.25, 2.0], Outputs("value")),
        ([[1.5, 0.0], [2.5, 1.0]], [], Outputs("value", (), 2)),
    ],
)
def test_what_a_model_answers_is_seen_from_training(predictions: list, labels: list, expected: Outputs) -> None:
    outputs = Outputs.infer(predictions, labels)
    assert outputs == expected
    assert Outputs.from_manifest(outputs.to_manifest()) == outputs


@pytest.mark.parametrize(
    ("predictions", "labels", "classes", "expected"),
    [
        # The labels lack "sky"; without the classes these would be three values of a regression.
        (
            [[0.2, 0.5, 0.3]],
            ["grass", "path"],
            ["grass", "path", "sky"],
            ("probabilities", ("grass", "path", "sky"), 3),
        ),
        # As a model orders classes that are texts: "10" before "9".
        ([[0.2, 0.5, 0.3]], ["9"], ["10", "9", "a"], ("probabilities", ("10", "9", "a"), 3)),
        ([[0.2, 0.5, 0.3]], [3], np.array([1, 2, 3]), ("probabilities", ("1", "2", "3"), 3)),
        ([[0.9]], [1, 1], [0, 1], ("probabilities", ("0", "1"), 1)),
        (["path", "path"], ["path", "path"], ["grass", "path", "sky"], ("label", ("grass", "path", "sky"), 1)),
        (np.array([3, 3]), [3, 3], [1, 2, 3], ("label", ("1", "2", "3"), 1)),
    ],
)
def test_of_the_models_classes_the_labels_may_lack_some(
    predictions: list, labels: list, classes: list, expected: tuple
) -> None:
    assert Outputs.infer(predictions, labels, classes) == Outputs(*expected)


def test_probabilities_are_watched_with_the_class_they_name() -> None:
    three = Outputs("probabilities", ("a", "b", "c"), 3)
    assert [feature.name for feature in three.features] == ["probability_a", "probability_b", "probability_c", "class"]
    assert three.rows(three.scores_many([[0.2, 0.5, 0.3]])).tolist() == [[0.2, 0.5, 0.3, 1.0]]
    one = Outputs("probabilities", ("no", "yes"), 1)
    assert [feature.name for feature in one.features] == ["probability_yes", "class"]
    assert one.rows(one.scores_many([[0.75]])).tolist() == [[0.75, 1.0]]
    assert one.scores([0.75]).tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("outputs", "answers"),
    [
        (Outputs("probabilities", ("a", "b", "c"), 3), [[0.1, 0.2, 0.7], [0.5, None, 0.5]]),
        (Outputs("probabilities", ("a", "b"), 1), [[0.25], [1]]),
        (Outputs("probabilities", ("a", "b"), 1), [0.25, 0.5]),
        (Outputs("label", ("a", "b")), [["a"], ["b"], [None]]),
        (Outputs("label", ("1", "2")), [[1], [2.0]]),
        (Outputs("value", (), 2), [[1, 2], [3, 4.5]]),
        (Outputs("value"), []),
    ],
)
def test_many_answers_are_as_one_by_one(outputs: Outputs, answers: list) -> None:
    found = outputs.scores_many(answers)
    expected = [outputs.scores(answer) for answer in answers]
    assert found.shape[0] == len(answers)
    assert found.tobytes() == b"".join(row.tobytes() for row in expected)


@pytest.mark.parametrize("answers", [[[0.1], [0.2, 0.3]], [["0.1"]], [[True]], [[[0.1]]]])
def test_many_answers_are_refused_as_one_is(answers: list) -> None:
    with pytest.raises(ValueError, match=r"an answer of|where a number belongs"):
        Outputs("value").scores_many(answers)


def test_labels_and_values() -> None:
    label = Outputs("label", ("no", "yes"))
    assert label.features == (Feature("class", ("no", "yes")),)
    assert label.rows(label.scores_many([["yes"]])).tolist() == [[1.0]]
    assert label.label("no") == 0.0
    numbered = Outputs("label", ("0", "1"))
    assert [numbered.label(value) for value in (1, 1.0, "1", True, np.int64(1))] == [1.0] * 5
    value = Outputs("value", (), 2)
    assert [feature.name for feature in value.features] == ["prediction_0", "prediction_1"]
    assert value.rows(value.scores_many([[1, 2.5]])).tolist() == [[1.0, 2.5]]


def test_null_is_missing() -> None:
    three = Outputs("probabilities", ("a", "b", "c"), 3)
    row = three.rows(three.scores_many([[0.2, None, 0.3]]))[0]
    assert math.isnan(row[1])
    assert math.isnan(row[3])
    assert math.isnan(Outputs("label", ("a", "b")).label(None))


@pytest.mark.parametrize(
    ("outputs", "answer", "message"),
    [
        (Outputs("probabilities", ("a", "b"), 2), [0.1], "1 values, not 2"),
        (Outputs("probabilities", ("a", "b"), 2), [0.1, "much"], "str where a number belongs"),
        (Outputs("label", ("a", "b")), ["c"], "class 'c' isn't one of the model's 2"),
        (Outputs("label", ("a", "b")), ["a", "b"], "not one class"),
        (Outputs("value"), [True], "bool where a number belongs"),
    ],
)
def test_an_answer_of_another_model_is_refused(outputs: Outputs, answer: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        outputs.scores(answer)


@pytest.mark.parametrize(
    "arguments",
    [("odds",), ("label", ("a",)), ("probabilities", ("a", "b", "c"), 2), ("probabilities", ("a", "b", "c"))],
)
def test_what_cannot_be_is_refused(arguments: tuple) -> None:
    with pytest.raises(ValueError, match="outputs:"):
        Outputs(*arguments)


def test_a_detector_watches_the_predictions() -> None:
    rng = np.random.default_rng(0)
    outputs = Outputs("probabilities", ("no", "yes"), 1)
    reference = outputs.rows(outputs.scores_many([[p] for p in rng.beta(2, 5, 400)]))
    detector = TabularDetector.fit(Reference(reference, outputs.features), {"window": 100, "p_value": 0.001})
    moved = outputs.rows(outputs.scores_many([[p] for p in rng.beta(5, 2, 100)]))
    alarms = detector.score_many(moved, np.zeros(100))
    assert {alarm.feature for alarm in alarms} == {"probability_yes", "class"}
