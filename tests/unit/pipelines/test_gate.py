# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The gate by table, its figures by metrics of all kinds, and what holds whatever they are."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from _model_spec.retraining import Gate
from hypothesis import given
from hypothesis import strategies as st
from mlops_runtime.pipelines.answers import Answers, of_estimator
from mlops_runtime.pipelines.gate import decide, judge
from mlops_runtime.pipelines.holdout import Data
from mlops_runtime.pipelines.metrics import metric
from mlops_runtime.pipelines.rows import identified
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss, roc_auc_score

NAN = math.nan
F1, LOSS = metric("f1"), metric("log_loss")


def figures(old: float, new: float) -> dict[str, float]:
    return {"old": old, "new": new}


@pytest.mark.parametrize(
    ("gate", "by", "champion", "challenger", "won", "reason"),
    [
        (Gate("f1"), F1, (0.9, 0.5), (0.9, 0.8), True, "a gain of 0.3, at least 0"),
        (Gate("f1"), F1, (0.9, 0.5), (0.9, 0.5), True, "a gain of 0, at least 0"),
        (Gate("f1"), F1, (0.9, 0.5), (0.9, 0.49), False, "a gain of -0.01, and not at least 0"),
        (Gate("f1", 0.1), F1, (0.9, 0.8), (0.9, 0.9), True, "a gain of 0.1, at least 0.1"),
        (Gate("f1", 0.1), F1, (0.9, 0.8), (0.9, 0.899), False, "and not at least 0.1"),
        (Gate("f1", -0.1), F1, (0.9, 0.8), (0.9, 0.7), True, "a gain of -0.1, at least -0.1"),
        (Gate("f1"), F1, (0.9, 0.5), (0.88, 0.8), True, "a loss of 0.02, at most 0.02"),
        (Gate("f1"), F1, (0.9, 0.5), (0.87, 0.8), False, "a loss of 0.03, and not at most 0.02"),
        (Gate("f1", 0, 0), F1, (0.9, 0.5), (0.95, 0.8), True, "a loss of -0.05, at most 0"),
        (Gate("log_loss"), LOSS, (0.3, 0.9), (0.31, 0.4), True, "a gain of 0.5, at least 0"),
        (Gate("log_loss"), LOSS, (0.3, 0.9), (0.33, 0.4), False, "a loss of 0.03, and not at most 0.02"),
        (Gate("log_loss"), LOSS, (0.3, 0.4), (0.3, 0.9), False, "a gain of -0.5, and not at least 0"),
        (Gate("f1"), F1, (0.9, 0.5), (0.9, NAN), False, "isn't defined on all of the holdout"),
        (Gate("f1"), F1, (NAN, 0.5), (0.9, 0.9), False, "isn't defined on all of the holdout"),
        (Gate("f1"), F1, (0.9, 0.5), (0.9, math.inf), False, "isn't defined on all of the holdout"),
    ],
)
def test_who_wins(gate: Gate, by: Any, champion: Any, challenger: Any, won: bool, reason: str) -> None:
    verdict = decide(gate, by, figures(*champion), figures(*challenger))
    assert verdict.won is won and verdict.outcome == ("won" if won else "lost")
    assert reason in " ".join(verdict.reasons)
    kept = json.loads(verdict.to_json())
    assert kept["won"] is won and kept["reasons"] == list(verdict.reasons)
    assert all(math.isfinite(value) for value in verdict.figures().values())


NUMBERS = st.floats(0, 1) | st.just(NAN)


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.floats(-0.5, 0.5), st.floats(0, 0.5))
def test_a_winner_gains_and_holds_and_a_better_one_wins_too(
    a: float, b: float, c: float, d: float, minimum: float, maximum: float
) -> None:
    gate = Gate("f1", minimum, maximum)
    verdict = decide(gate, F1, figures(a, b), figures(c, d))
    assert verdict.reasons
    if verdict.won:
        assert d - b >= minimum - 1e-9 and a - c <= maximum + 1e-9
        assert decide(gate, F1, figures(a, b), figures(min(1.0, c + 0.1), min(1.0, d + 0.1))).won
    elif not any(map(math.isnan, (a, b, c, d))):
        assert d - b < minimum or a - c > maximum


# Metrics

LABELS = np.array([0, 1, 1, 0, 1])
CHANCES = np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3], [0.9, 0.1], [0.1, 0.9]])
ANSWERS = Answers(np.array([0, 1, 0, 0, 1]), CHANCES, (0, 1))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("f1", f1_score(LABELS, ANSWERS.predicted)),
        ("accuracy", 0.8),
        ("roc_auc", roc_auc_score(LABELS, CHANCES[:, 1])),
        ("log_loss", log_loss(LABELS, CHANCES)),
        ("neg_log_loss", -log_loss(LABELS, CHANCES)),
        ("brier", float(np.mean((CHANCES[:, 1] - LABELS) ** 2))),
        ("mcc", 2 / 3),
    ],
)
def test_metrics_are_scikit_learns(name: str, wanted: float) -> None:
    assert metric(name).of(LABELS, ANSWERS) == (pytest.approx(wanted), "")
    as_texts = Answers(ANSWERS.predicted.astype(float).astype(str), CHANCES, ("0", "1"))
    assert metric(name).of(LABELS.astype(float), as_texts)[0] == pytest.approx(wanted), "classes are known by name"


def test_classes_that_are_texts_are_judged_in_their_order() -> None:
    named = np.array(["ham", "spam"])[LABELS]
    answers = Answers(np.array(["ham", "spam"])[ANSWERS.predicted], CHANCES, ("ham", "spam"))
    assert metric("f1").of(named, answers)[0] == pytest.approx(f1_score(LABELS, ANSWERS.predicted))


def test_several_classes_need_a_metric_for_them() -> None:
    labels = np.array([0, 1, 2, 2])
    answers = Answers(np.array([0, 1, 2, 1]))
    assert metric("f1_macro").of(labels, answers)[0] == pytest.approx(f1_score(labels, [0, 1, 2, 1], average="macro"))
    value, problem = metric("f1").of(labels, answers)
    assert math.isnan(value) and "average" in problem


def test_errors_of_numbers_are_better_where_they_are_lower() -> None:
    answers = Answers(np.array([1.5, 2.0]))
    assert metric("rmse").of([1.0, 2.0], answers)[0] == pytest.approx(math.sqrt(0.125))
    assert metric("mae").of([1.0, 2.0], answers)[0] == pytest.approx(0.25)
    assert metric("rmse").better(0.1, 0.3) == pytest.approx(0.2)
    assert metric("r2").better(0.1, 0.3) == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("by", "labels", "answers", "problem"),
    [
        (metric("roc_auc"), LABELS, Answers(ANSWERS.predicted), "needs probabilities"),
        (metric("roc_auc"), np.array([1, 1, 1, 1, 1]), ANSWERS, "nan"),
        (metric("accuracy"), np.array([0, 1, 2, 0, 1]), ANSWERS, "doesn't know the class 2"),
        (metric("f1"), np.array([]), Answers(np.array([])), "no rows"),
        (metric("mine", lambda labels, answers: NAN), LABELS, ANSWERS, "nan"),
        (metric("mine", lambda labels, answers: 1 / 0), LABELS, ANSWERS, "ZeroDivisionError"),
    ],
)
def test_what_is_not_defined_has_a_reason(by: Any, labels: Any, answers: Answers, problem: str) -> None:
    value, told = by.of(labels, answers)
    assert math.isnan(value) and problem in told


def test_a_function_of_ones_own_and_a_name_that_is_none() -> None:
    cost = metric("cost", lambda labels, answers: float((labels != answers.predicted).sum()), lower_is_better=True)
    assert cost.of(LABELS, ANSWERS) == (1.0, "") and cost.better(1, 3) == 2
    with pytest.raises(ValueError, match="there is no metric 'f2'; known are"):
        metric("f2")


# Both on one holdout


def data(new_labels: list[int] | None = None) -> Data:
    draw = np.random.default_rng(0)
    frames = []
    for part in range(3):
        rows = pd.DataFrame({"a": draw.normal(size=60), "b": draw.normal(size=60)})
        # What the model was trained on turns round in the new part.
        rows["y"] = ((rows["a"] > 0) if part < 2 else (rows["a"] < 0)).astype(int)
        frames.append(identified(rows))
    train, old, new = frames
    if new_labels is not None:
        new = new.assign(y=new_labels)
    return Data(train, old, new, train[:0], "y", "the-hash")


def test_champion_and_challenger_are_asked_the_same() -> None:
    given = data()
    features, target = given.train[["a", "b"]], given.train["y"]
    champion = of_estimator(LogisticRegression().fit(features, target))
    turned = of_estimator(LogisticRegression().fit(given.new[["a", "b"]], given.new["y"]))
    verdict = judge(Gate("f1"), F1, champion, turned, given, {"model": "m"})
    assert not verdict.won and verdict.gain > 0.5 and verdict.loss > 0.5
    assert judge(Gate("f1", 0, 1), F1, champion, turned, given).won
    kept = json.loads(verdict.to_json())
    assert kept["holdout"] == "the-hash" and kept["rows"] == {"old": 60, "new": 60} and kept["model"] == "m"


def test_a_slice_without_the_class_that_counts_is_refused_and_says_so() -> None:
    given = data(new_labels=[0] * 60)
    model = of_estimator(LogisticRegression().fit(given.train[["a"]].to_numpy(), given.train["y"]))
    with_one = Data(
        given.train[["a", "y"]], given.old[["a", "y"]], given.new[["a", "y"]], given.recent, "y", given.sha256
    )
    for name in ("recall", "roc_auc"):
        verdict = judge(Gate(name, -9, 9), metric(name), model, model, with_one)
        assert not verdict.won
        assert f"{name} isn't defined: of the champion on the new part" in verdict.reasons[0]
        assert json.loads(verdict.to_json())["champion"]["new"] is None
