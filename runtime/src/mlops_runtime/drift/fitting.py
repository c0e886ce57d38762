# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Fit detectors where a model is trained, and leave them as an artefact beside it.

    from mlops_runtime.drift.fitting import fit

    declared = ["ewma", {"kind": "rff", "expected_run_time": 20000}]
    fit(train, detectors=declared, directory="build/drift", model="phishing")
    mlflow.log_artifacts("build/drift", "drift")

`train` is what the model was trained on, or better a part of it that was held out: a DataFrame, a dict of columns, an
array with `names`, or a file (CSV, Parquet, .npz).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mlops_runtime.drift.artefact import NAME, Artefact, FittedDetector, write
from mlops_runtime.drift.embedding import Preprocessing
from mlops_runtime.drift.outputs import Outputs
from mlops_runtime.drift.performance import PERFORMANCE, PerformanceMonitor
from mlops_runtime.drift.protocol import Detector, Feature, FloatArray, Parameters, Reference, Scalar
from mlops_runtime.drift.registry import detector_class
from mlops_runtime.drift.schema import MAX_CATEGORIES, Column, Schema, category_name
from mlops_runtime.drift.tables import read_table

MAX_CATEGORY_SHARE = 0.5
"""A column of texts of which more than this share is different is no category: an id, an address, free text."""


class UnfitData(ValueError):
    """Data that no detector can be fitted on; the message names the column."""


@dataclass(frozen=True)
class Declaration:
    """A detector that is asked for: `ewma`, or {kind: ewma, name: ..., expected_run_time: 10000, ...}."""

    kind: str
    name: str
    parameters: Parameters = field(default_factory=dict)

    @classmethod
    def parse(cls, declared: object) -> Declaration:
        """Raises ValueError for what is none."""
        if isinstance(declared, str):
            declared = {"kind": declared}
        if not isinstance(declared, Mapping) or not isinstance(declared.get("kind"), str):
            raise ValueError(f"{declared!r} is no detector: a kind, or an object with kind and parameters")
        kind = declared["kind"]
        name = declared.get("name", kind.replace(":", "-"))
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a detector: letters, digits, '.', '_' and '-'")
        parameters = {key: value for key, value in declared.items() if key not in ("kind", "name")}
        for key, value in parameters.items():
            if not isinstance(key, str) or not isinstance(value, str | int | float | bool):
                raise ValueError(f"detector {name!r}: the parameter {key!r} is {value!r}, no number, text or boolean")
        return cls(kind, name, parameters)


def fit(
    data: Any,
    names: Sequence[str] | None = None,
    *,
    detectors: Iterable[object] = ("ewma",),
    directory: str | Path | None = None,
    model: str = "",
    categorical: Iterable[str] = (),
    preprocessing: Preprocessing | None = None,
    outputs: Sequence[Any] | None = None,
    labels: Sequence[Any] = (),
    classes: Sequence[Any] = (),
    output_detectors: Iterable[object] = ("ewma",),
    performance: Parameters | None = None,
    seed: int = 0,
) -> Artefact:
    """Fit and calibrate; with `directory` the artefact is written there, too.

    `names`: of an array's columns, or those of a table to take, in the model's order. `categorical`: columns that are
    categories although they hold numbers; columns of texts are, anyway. `preprocessing`: the step that made the rows of
    `data`, where the model's inputs aren't tabular. `outputs`: the model's answers, shape (n,) or (n, k), to rows that
    it was not trained on, with `labels` where they are known: `output_detectors` then watch how it answers. `classes`:
    the model's, in the order of its probabilities (scikit-learn's `classes_`); else they are those among the labels.
    `performance`: parameters of the watch on how well it does (performance/monitor.py), {} for the usual ones; it needs
    the outputs' labels.
    Raises UnfitData, UnfitReference, ValueError.
    """
    declared = [Declaration.parse(item) for item in detectors]
    if not declared:
        raise ValueError("no detector is asked for")
    twice = sorted({one.name for one in declared if sum(other.name == one.name for other in declared) > 1})
    if twice:
        raise ValueError(f"two detectors are named {', '.join(twice)}: give them a name each")
    kinds = [detector_class(one.kind) for one in declared]
    if preprocessing is not None and names is None:
        names = [feature.name for feature in preprocessing.features]
    schema, rows = reference(data, names, categorical)
    inputs = Reference(rows, schema.features, seed)
    fitted = [_fitted(one, found, inputs, False) for one, found in zip(declared, kinds, strict=True)]
    answers = None
    if outputs is not None:
        answers = Outputs.infer(outputs, labels, classes)
        answered = answers.rows(answers.scores_many(outputs))
        for item in output_detectors:
            one = Declaration.parse(item)
            one = Declaration(one.kind, f"outputs-{one.name}", one.parameters)
            fitted.append(_fitted(one, detector_class(one.kind), Reference(answered, answers.features, seed), True))
    watched = None
    if performance is not None:
        if answers is None or outputs is None or not len(labels):
            raise ValueError("performance can't be fitted without the model's outputs and their labels")
        monitor = PerformanceMonitor.fit(answers, outputs, labels, performance, seed)
        watched = FittedDetector(PERFORMANCE, PERFORMANCE, performance, monitor.fitted(), monitor.baseline, True)
    artefact = Artefact(
        model=model,
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        rows=len(rows),
        schema=schema,
        detectors=tuple(fitted),
        libraries=_libraries(one.kind for one in declared),
        preprocessing=None if preprocessing is None else preprocessing.to_manifest(),
        outputs=None if answers is None else answers.to_manifest(),
        performance=watched,
    )
    if directory is not None:
        write(artefact, Path(directory))
    return artefact


def _fitted(one: Declaration, found: type[Detector], on: Reference, of_outputs: bool) -> FittedDetector:
    detector = found.fit(on, one.parameters)
    calibration: dict[str, Scalar] = detector.calibration()
    return FittedDetector(one.name, one.kind, one.parameters, detector.fitted(), calibration, of_outputs)


def reference(
    data: Any, names: Sequence[str] | None = None, categorical: Iterable[str] = ()
) -> tuple[Schema, FloatArray]:
    """A table as features and rows of float64, shape (n, features). Raises UnfitData."""
    table = _table(data, names)
    wanted = list(table) if names is None else list(names)
    if absent := [name for name in wanted if name not in table]:
        raise UnfitData(f"there is no column {', '.join(absent)}")
    forced = set(categorical)
    if absent := sorted(forced - set(wanted)):
        raise UnfitData(f"categorical: there is no column {', '.join(absent)}")
    columns, values = [], []
    for name in wanted:
        column, numbers = _column(name, table[name], name in forced)
        columns.append(column)
        values.append(numbers)
    if not columns or not len(values[0]):
        raise UnfitData("there are no rows")
    if len({len(numbers) for numbers in values}) > 1:
        raise UnfitData("the columns have different lengths")
    return Schema(columns), np.ascontiguousarray(np.stack(values, axis=1))


def _table(data: Any, names: Sequence[str] | None) -> Mapping[str, Any]:
    if isinstance(data, str | Path):
        return read_table(Path(data))
    if isinstance(data, Mapping):
        return {str(name): values for name, values in data.items()}
    if hasattr(data, "columns") and hasattr(data, "__getitem__"):  # A DataFrame of whatever library.
        return {str(name): data[name] for name in data.columns}
    array = data if isinstance(data, np.ndarray) else np.array(list(data), dtype=object)
    if array.ndim != 2:
        raise UnfitData(f"rows must be a table of two dimensions; this has {array.ndim}")
    if names is None:
        names = [f"feature_{index}" for index in range(array.shape[1])]
    if len(names) != array.shape[1]:
        raise UnfitData(f"{len(names)} names for {array.shape[1]} columns")
    return {name: array[:, index] for index, name in enumerate(names)}


def _column(name: str, values: Any, forced: bool) -> tuple[Column, FloatArray]:
    dtype = getattr(values, "dtype", None)
    if not forced and isinstance(dtype, np.dtype) and dtype.kind in "fiub":
        numbers = np.asarray(values, dtype=np.float64)
        return _numeric(name, numbers)
    plain = [None if _is_missing(value) else value for value in (values.tolist() if dtype is not None else values)]
    present = [value for value in plain if value is not None]
    texts = sum(isinstance(value, str) for value in present)
    if not forced and texts == 0:
        try:
            numbers = np.array([math.nan if value is None else float(value) for value in plain])
        except (TypeError, ValueError):
            kind = next(type(value).__name__ for value in present if not isinstance(value, int | float))
            raise UnfitData(f"column {name!r} holds values of the type {kind}: neither numbers nor texts") from None
        return _numeric(name, numbers)
    if not forced and texts < len(present):
        raise UnfitData(f"column {name!r} holds texts and numbers; say that it is categorical, or make it one of them")
    return _categorical(name, [None if value is None else category_name(value) for value in plain])


def _numeric(name: str, numbers: FloatArray) -> tuple[Column, FloatArray]:
    if np.isinf(numbers).any():
        raise UnfitData(f"column {name!r} holds an infinite number")
    present = numbers[~np.isnan(numbers)]
    if not len(present):
        raise UnfitData(f"column {name!r} holds nothing: every value is missing")
    missing = 1 - len(present) / len(numbers)
    return Column(Feature(name), float(present.min()), float(present.max()), missing), numbers


def _categorical(name: str, values: list[str | None]) -> tuple[Column, FloatArray]:
    present = [value for value in values if value is not None]
    categories = sorted(set(present))
    if not categories:
        raise UnfitData(f"column {name!r} holds nothing: every value is missing")
    if len(categories) > MAX_CATEGORIES or (len(present) > 100 and len(categories) > MAX_CATEGORY_SHARE * len(present)):
        raise UnfitData(
            f"column {name!r} has {len(categories)} different texts in {len(present)} rows: "
            "that is no category; leave it out"
        )
    codes = {category: float(code) for code, category in enumerate(categories)}
    numbers = np.array([math.nan if value is None else codes[value] for value in values])
    return Column(Feature(name, tuple(categories)), missing=1 - len(present) / len(values)), numbers


def _is_missing(value: object) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def _libraries(kinds: Iterable[str]) -> dict[str, str]:
    """What the fitting ran on."""
    wanted = {"numpy"}
    for kind in kinds:
        wanted |= {"alibi-detect"} if kind.startswith("alibi:") else set()
        wanted |= {"scipy", "scikit-learn"} if kind not in ("ewma", "rff") and ":" not in kind else set()
    found = {}
    for name in sorted(wanted):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
