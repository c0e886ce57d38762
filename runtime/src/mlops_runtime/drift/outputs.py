# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A model's answers as rows that a detector can watch, and as numbers that a label can be compared with.

Three kinds of answer: `probabilities` (one number for each class, or for two classes that of the second alone), `label`
(the class itself) and `value` (a regression's, one or more numbers). What an answer is, is decided at training and kept
with the artefact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mlops_runtime.drift.protocol import Feature, FloatArray, Scalar

KINDS: Final = ("probabilities", "label", "value")
MOST_CLASSES: Final = 1000
"""More of them in a sample of labels: it is a number, not a class."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model answers: `kind`, the `classes` in the order of the model, and how many numbers a row has."""

    kind: str
    classes: tuple[str, ...] = ()
    width: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"outputs: kind is {self.kind!r}; it has to be one of {', '.join(KINDS)}")
        if self.kind != "value" and len(self.classes) < 2:
            raise ValueError(f"outputs: {self.kind} need two classes or more")
        if self.kind == "probabilities" and self.width not in {len(self.classes), 1}:
            raise ValueError(f"outputs: {self.width} probabilities for {len(self.classes)} classes")
        if self.kind == "probabilities" and self.width == 1 and len(self.classes) != 2:
            raise ValueError("outputs: a single probability is of the second of two classes")

    @property
    def is_classification(self) -> bool:
        return self.kind != "value"

    @property
    def features(self) -> tuple[Feature, ...]:
        """Of the rows that `row` makes: the probabilities and the class, or the values."""
        if self.kind == "value":
            return tuple(Feature("prediction" if self.width == 1 else f"prediction_{at}") for at in range(self.width))
        predicted = Feature("class", self.classes)
        if self.kind == "label":
            return (predicted,)
        # Of two classes the one probability is the other's complement: watching both would count it twice.
        of = self.classes[1:] if len(self.classes) == 2 else self.classes
        return (*(Feature(f"probability_{name}") for name in of), predicted)

    def scores(self, answer: Sequence[Any] | Any) -> FloatArray:
        """One row of `Y` as numbers, NaN for null: shape (classes,), (1,) for a label's place, (width,) for values.

        Raises `ValueError` where it isn't of this model.
        """
        values = list(answer) if isinstance(answer, list | tuple | np.ndarray) else [answer]
        if self.kind == "label":
            if len(values) != 1:
                raise ValueError(f"an answer of {len(values)} values, not one class")
            return np.array([self.place(values[0])])
        if len(values) != self.width:
            raise ValueError(f"an answer of {len(values)} values, not {self.width}")
        numbers = np.array([number(value) for value in values])
        if self.kind == "probabilities" and self.width == 1:
            return np.array([1.0 - numbers[0], numbers[0]])
        return numbers

    def scores_many(self, answers: Sequence[Any]) -> FloatArray:
        """`scores` of each of them, shape (n, numbers)."""
        try:
            numbers = np.array(answers)
        except ValueError:
            numbers = np.empty(0, dtype=np.object_)
        if self.kind != "label" and numbers.dtype.kind in "fiu" and numbers.shape == (len(answers), self.width):
            found = numbers.astype(np.float64)
            one = self.kind == "probabilities" and self.width == 1
            return np.column_stack([1.0 - found[:, 0], found[:, 0]]) if one else found
        rows = [self.scores(answer) for answer in answers]
        return np.array(rows, dtype=np.float64).reshape(len(answers), self.score_width)

    @property
    def score_width(self) -> int:
        """How many numbers `scores` has."""
        return 1 if self.kind == "label" else max(self.width, len(self.classes))

    def rows(self, scores: FloatArray) -> FloatArray:
        """What the detectors see of answers' scores, shape (n, numbers): one column for each of `features`.

        The class is the first of several that are as likely, and NaN where a score is.
        """
        if self.kind != "probabilities":
            return scores
        named = np.where(np.isnan(scores).any(axis=1), np.nan, scores.argmax(axis=1))
        return np.column_stack([scores[:, 1:] if scores.shape[1] == 2 else scores, named])

    def label(self, value: Scalar | None) -> float:
        """A label as it arrives: a class's place, or a number; NaN for null. Raises `ValueError` for another."""
        return self.place(value) if self.is_classification else number(value)

    def place(self, value: Any) -> float:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return math.nan
        name = class_name(value)
        if name not in self.classes:
            raise ValueError(f"class {name[:50]!r} isn't one of the model's {len(self.classes)}")
        return float(self.classes.index(name))

    def to_manifest(self) -> dict[str, Any]:
        return {"kind": self.kind, "classes": list(self.classes), "width": self.width}

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Outputs:
        return cls(str(manifest["kind"]), tuple(map(str, manifest.get("classes", ()))), int(manifest.get("width", 1)))

    @classmethod
    def infer(cls, predictions: Sequence[Any], labels: Sequence[Any] = (), classes: Sequence[Any] = ()) -> Outputs:
        """From answers of the training, shape (n,) or (n, k), and their labels where there are any.

        Where the model's `classes` are known, they and their order are taken: of many, few labels may lack some.

        Labels that are numbers with a fraction, or of very many values, are a regression's. Answers with one column for
        each class, or one column in [0, 1] beside two classes, are probabilities.
        """
        width = len(predictions[0]) if isinstance(predictions[0], list | tuple | np.ndarray) else 1
        first = [row[0] if isinstance(row, list | tuple | np.ndarray) else row for row in predictions]
        known = {class_name(value) for value in (classes if len(classes) else labels)}
        names = tuple(map(class_name, classes)) if len(classes) else tuple(sorted(known, key=class_order))
        as_classes = len(classes) > 0 or (2 <= len(names) <= MOST_CLASSES and all(map(is_class, labels)))
        if as_classes and width == len(names):
            return cls("probabilities", names, width)
        if width == 1 and all(map(is_class, first)) and (as_classes or any(isinstance(value, str) for value in first)):
            together = known | {class_name(value) for value in first}
            return cls("label", tuple(sorted(together, key=class_order)))
        if as_classes and width == 1 and len(names) == 2 and all(0 <= float(value) <= 1 for value in first):
            return cls("probabilities", names, 1)
        return cls("value", (), width)


def number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{type(value).__name__} where a number belongs")
    return float(value)


def class_name(value: Any) -> str:
    """One name for a class, however it was written: 1, 1.0 and "1" are the same."""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def is_class(value: Any) -> bool:
    return isinstance(value, str | bool | int | np.integer | np.bool_) or float(value).is_integer()


def class_order(name: str) -> tuple[int, float, str]:
    """Numbers by size, as a model orders its classes; then words."""
    try:
        return 0, float(name), ""
    except ValueError:
        return 1, 0.0, name
