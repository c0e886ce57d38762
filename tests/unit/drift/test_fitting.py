# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of every make become features; what can't be fitted is named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlops_runtime.drift import artefact
from mlops_runtime.drift.fitting import Declaration, UnfitData, fit, reference
from mlops_runtime.drift.protocol import UnfitReference
from mlops_runtime.drift.watcher import Watcher


class Frame:
    """What this code needs of a DataFrame."""

    def __init__(self, data: dict[str, np.ndarray[Any, Any]]) -> None:
        self._data = data
        self.columns = list(data)

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return self._data[name]


TABLE: dict[str, list[object]] = {
    "size": [1.0, 2, None, 4.5],
    "colour": ["red", "blue", None, "red"],
    "secure": [True, False, True, True],
}
ROWS = [[1, 1, 1], [2, 0, 0], [math.nan, math.nan, 1], [4.5, 1, 1]]


def frame() -> Frame:
    columns = {name: np.array(values, dtype=object) for name, values in TABLE.items()}
    return Frame(columns | {"secure": np.array(TABLE["secure"], dtype=bool)})


def csv_file(path: Path) -> Path:
    path.write_text("size,colour,secure\n1,red,1\n2,blue,0\n,,1\n4.5,red,1\n")
    return path


@pytest.mark.parametrize("make", ["dict", "frame", "csv", "rows"])
def test_every_make_of_table(make: str, tmp_path: Path) -> None:
    data: Any = {"dict": lambda: TABLE, "frame": frame, "csv": lambda: csv_file(tmp_path / "train.csv")}.get(
        make, lambda: [list(row) for row in zip(*TABLE.values(), strict=True)]
    )()
    schema, rows = reference(data, list(TABLE))
    np.testing.assert_array_equal(rows, np.array(ROWS))
    assert schema.features[1].categories == ("blue", "red")
    size = schema.columns[0]
    assert (size.minimum, size.maximum, size.missing) == (1, 4.5, 0.25)


def test_columns_are_taken_in_the_model_s_order() -> None:
    schema, rows = reference(TABLE, ["secure", "size"])
    assert schema.names == ["secure", "size"]
    np.testing.assert_array_equal(rows[:, 0], [1, 0, 1, 1])


def test_numbers_that_are_categories() -> None:
    schema, rows = reference({"code": [3, 1.0, 3, None]}, categorical=["code"])
    assert schema.features[0].categories == ("1", "3")
    np.testing.assert_array_equal(rows[:, 0], [1, 0, 1, math.nan])


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ({"a": [1, math.inf]}, {}, "column 'a' holds an infinite number"),
        ({"a": [None, math.nan]}, {}, "column 'a' holds nothing"),
        ({"a": [1, "x"]}, {}, "column 'a' holds texts and numbers"),
        ({"a": [{}]}, {}, "values of the type dict"),
        ({"a": [str(number) for number in range(200)]}, {}, "200 different texts in 200 rows"),
        ({"a": [1], "b": [1, 2]}, {}, "different lengths"),
        ({}, {}, "no rows"),
        ({"a": []}, {}, "holds nothing"),
        ({"a": [1]}, {"names": ["b"]}, "no column b"),
        ({"a": [1]}, {"categorical": ["b"]}, "categorical: there is no column b"),
        (np.zeros(3), {}, "two dimensions"),
        (np.zeros((3, 2)), {"names": ["a"]}, "1 names for 2 columns"),
    ],
)
def test_data_that_can_not_be_fitted(data: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UnfitData, match=says):
        reference(data, **options)


def test_declarations() -> None:
    assert Declaration.parse("ewma") == Declaration("ewma", "ewma")
    assert Declaration.parse("alibi:mmd").name == "alibi-mmd"
    given = {"kind": "ewma", "name": "inputs", "expected_run_time": 10}
    assert Declaration.parse(given) == Declaration("ewma", "inputs", {"expected_run_time": 10})
    for wrong in (3, {}, {"kind": 3}, {"kind": "ewma", "name": "a/b"}, {"kind": "ewma", "x": [1]}):
        with pytest.raises(ValueError, match=r"is no detector|no name of a detector|no number, text or boolean"):
            Declaration.parse(wrong)


def test_fit_writes_what_watches_alike(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    train = chance.normal(size=(500, 2))
    declared = [{"kind": "cusum", "threshold": 9.0}, {"kind": "cusum", "name": "calm", "threshold": 50}]
    fit(train, ["a", "b"], detectors=declared, directory=tmp_path / "drift", model="m", seed=1)
    watcher = Watcher(artefact.load(tmp_path / "drift"))
    alarms = watcher.score(chance.normal(1.5, 1, (100, 2)), np.zeros(100))
    assert [one.detector for one in alarms][:2] == ["cusum", "calm"]
    assert alarms[0].alarm.row < 15
    assert {name: reading.threshold for name, reading in watcher.readings()} == {"cusum": 9.0, "calm": 50.0}


@pytest.mark.parametrize(
    ("detectors", "error", "says"),
    [
        (["magic"], ValueError, "no detector 'magic'"),
        ([], ValueError, "no detector is asked for"),
        (["cusum", "cusum"], ValueError, "two detectors are named cusum"),
        ([{"kind": "cusum", "odd": 1}], ValueError, "no parameter odd"),
        (["cusum"], UnfitReference, "5 rows"),
    ],
)
def test_what_can_not_be_fitted_writes_nothing(
    tmp_path: Path, detectors: list[object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        fit(np.arange(10.0).reshape(5, 2), detectors=detectors, directory=tmp_path / "drift")
    assert not (tmp_path / "drift").exists()
