# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Which observation a row is, and what is held out of what there is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops_runtime.pipelines.datasets import brought, read_file
from mlops_runtime.pipelines.errors import MissingDataset, TooFewLabels, UnfitRows
from mlops_runtime.pipelines.holdout import Data, freeze
from mlops_runtime.pipelines.rows import (
    INDEX,
    aligned,
    digest,
    from_file,
    identified,
    request_row,
    row_hashes,
    together,
    unlike,
    without,
)

ROWS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 1)), max_size=40)
COLUMNS = ["a", "b", "y"]


def frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS).astype({"a": "int64", "b": "float64", "y": "int64"})


def requests(sizes: list[int], first: int = 0) -> pd.DataFrame:
    """Rows of the stream: so many requests of these sizes, the oldest first."""
    names = [request_row(f"r{first + place}", row) for place, size in enumerate(sizes) for row in range(size)]
    rows = [(place % 3, 0.5, place % 2) for place in range(len(names))]
    return frame(rows).set_axis(pd.Index(names, name=INDEX, dtype=object), axis=0)


# Rows


def test_equal_values_are_equal_whatever_their_types_and_order() -> None:
    left = pd.DataFrame({"a": [1, 0], "b": [True, False], "c": ["x", None]})
    right = pd.DataFrame({"c": ["x", float("nan")], "b": [1.0, 0.0], "a": [1.0, 0.0]})
    assert row_hashes(left) == row_hashes(right)
    assert row_hashes(pd.DataFrame({"a": [1]})) != row_hashes(pd.DataFrame({"b": [1]}))
    assert row_hashes(pd.DataFrame({"a": ["1"]})) != row_hashes(pd.DataFrame({"a": [1]}))


def test_a_great_whole_number_keeps_its_last_digit() -> None:
    first, second = row_hashes(pd.DataFrame({"a": [2**53 + 1, 2**53 + 2]}))
    assert first != second


@given(ROWS)
def test_rows_have_a_name_each_and_the_same_rows_the_same_names(rows: list[tuple[Any, ...]]) -> None:
    named = identified(frame(rows))
    assert named.index.is_unique
    assert sorted(named.index) == sorted(identified(frame(rows[::-1])).index)
    assert digest(named) == digest(identified(frame(rows[::-1])))
    assert identified(named) is named


@given(ROWS, ROWS)
def test_as_many_equal_rows_are_left_out_as_there_are(
    rows: list[tuple[Any, ...]], others: list[tuple[Any, ...]]
) -> None:
    kept = unlike(from_file(frame(rows)), identified(frame(others)))
    for row in set(rows):
        assert sum(tuple(found) == row for found in kept.itertuples(index=False)) == max(
            0, rows.count(row) - others.count(row)
        )


def test_a_row_with_an_id_is_nobody_else_however_alike() -> None:
    stream = requests([1, 1])
    assert len(unlike(stream, identified(frame([(0, 0.5, 0)])))) == 2
    assert len(unlike(from_file(frame([(0, 0.5, 0)])), stream)) == 1


def test_the_digest_sees_a_changed_value_and_a_changed_name() -> None:
    rows = requests([1, 1])
    changed = rows.copy()
    changed.loc["r0/0", "y"] = 1
    assert len({digest(rows), digest(changed), digest(rows.rename(index={"r0/0": "r9/0"}))}) == 3


def test_columns_are_taken_in_the_champions_order_and_types() -> None:
    found = aligned(pd.DataFrame({"y": [1.0], "more": [1], "b": [1], "a": ["2"]}), frame([(0, 0.0, 0)]), "rows")
    assert list(found.columns) == COLUMNS
    assert found.dtypes.astype(str).to_dict() == {"a": "int64", "b": "float64", "y": "int64"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1], "y": [0]}, "rows: there is no column b; it has a, y"),
        ({"a": [0.5], "b": [0], "y": [0]}, "column a can't be int64: it has other values than whole ones"),
        ({"a": ["red"], "b": [0], "y": [0]}, "column a can't be int64"),
        ({"a": [None], "b": [0], "y": [0]}, "column a can't be int64"),
    ],
)
def test_what_never_was_in_a_column_is_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UnfitRows, match=message):
        aligned(pd.DataFrame(columns), frame([(0, 0.0, 0)]), "rows")


# Files that a user brings


def test_files_are_read_the_oldest_first_and_the_same_file_is_the_same_rows(tmp_path: Path) -> None:
    frame([(1, 0.0, 0), (1, 0.0, 0)]).to_csv(tmp_path / "one.csv", index=False)
    frame([(2, 0.5, 1)]).to_parquet(tmp_path / "two.parquet")
    found = brought([tmp_path / "two.parquet", tmp_path / "one.csv", tmp_path / "one.csv"])
    assert found["a"].tolist() == [2, 1, 1] and found.index.is_unique


def test_files_may_say_which_row_is_which_and_when_it_was(tmp_path: Path) -> None:
    rows = frame([(1, 0.0, 0), (2, 0.0, 0)]).assign(case=["x", "y"], at=["2026-02-01", "2026-01-01"])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    found = brought([tmp_path / "rows.csv"], ids="case", time="at")
    assert list(found.index) == ["id:y", "id:x"] and list(found.columns) == COLUMNS


def test_files_that_are_none(tmp_path: Path) -> None:
    rows = frame([(1, 0.0, 0), (2, 0.0, 0)]).assign(case=["x", "x"])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "rows.xls").touch()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(UnfitRows, match="comes twice"):
        brought([tmp_path / "rows.csv"], ids="case")
    with pytest.raises(UnfitRows, match="no column when"):
        brought([tmp_path / "rows.csv"], time="when")
    with pytest.raises(UnfitRows, match="no column id"):
        brought([tmp_path / "rows.csv"], ids="id")
    for name, kind in {"rows.xls": UnfitRows, "broken.parquet": UnfitRows, "none.csv": MissingDataset}.items():
        with pytest.raises(kind):
            read_file(tmp_path / name)
    with pytest.raises(MissingDataset):
        brought([])


# The holdout


def parts(data: Data) -> list[set[str]]:
    return [set(found.index) for found in (data.train, data.old, data.new)]


@given(ROWS.filter(len), ROWS, st.lists(st.integers(1, 4), min_size=1, max_size=30), st.floats(0.05, 0.95))
def test_nothing_that_is_held_out_is_learnt(
    train: list[tuple[Any, ...]], test: list[tuple[Any, ...]], sizes: list[int], share: float
) -> None:
    stream = requests(sizes)
    try:
        data = freeze(train=frame(train), test=frame(test), new=stream, target="y", share=share, minimum=3)
    except TooFewLabels:
        wanted = max(3, min(math.ceil(share * len(stream)), len(stream) - 1))
        named = [name.split("/")[0] for name in stream.index]
        assert len(stream) <= wanted or set(named[-wanted:]) == set(named)
        return
    learnt, old, new = parts(data)
    assert not learnt & old and not learnt & new and not old & new
    assert len(new) >= max(3, min(math.ceil(share * len(stream)), len(stream) - 1))
    assert set(data.recent.index) == learnt & set(stream.index) != set()
    # The newest slice is the end of the stream, and no request is divided.
    assert list(data.new.index) == list(stream.index[-len(new) :])
    assert not {name.split("/")[0] for name in new} & {name.split("/")[0] for name in learnt}
    assert set(stream.index) <= learnt | new


@given(ROWS.filter(len), ROWS, st.integers(8, 30), st.randoms(use_true_random=False))
def test_the_same_rows_give_the_same_holdout(
    train: list[tuple[Any, ...]], test: list[tuple[Any, ...]], count: int, draw: Any
) -> None:
    stream = requests([1] * count)
    first = freeze(train=frame(train), test=frame(test), new=stream, target="y", minimum=3)
    draw.shuffle(train)
    draw.shuffle(test)
    again = freeze(train=frame(train), test=frame(test), new=stream, target="y", minimum=3)
    assert (first.sha256, parts(first)) == (again.sha256, parts(again))


@given(ROWS.filter(len), ROWS, st.integers(8, 20), st.integers(8, 20))
def test_what_a_retraining_has_used_is_not_new_to_the_next(
    train: list[tuple[Any, ...]], test: list[tuple[Any, ...]], before: int, after: int
) -> None:
    first = freeze(train=frame(train), test=frame(test), new=requests([1] * before), target="y", minimum=3)
    tested = together([first.old, first.new])
    stream = requests([1] * (before + after))
    second = freeze(train=first.train, test=tested, new=stream, target="y", minimum=3)
    learnt, old, new = parts(second)
    assert old == set(tested.index) and not learnt & (old | new)
    assert set(first.train.index) <= learnt, "nothing is lost from one retraining to the next"
    assert new | set(second.recent.index) == set(stream.index[before:])


def test_a_file_with_the_test_set_in_it_brings_nothing_of_that(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"a": range(300), "b": draw.random(300), "y": draw.integers(0, 2, 300)})
    train, test, new = rows[:100], rows[100:150], rows[100:]
    data = freeze(train=train, test=test, new=new.reset_index(drop=True), target="y", minimum=10)
    learnt = {*row_hashes(data.train)}
    assert not learnt & {*row_hashes(data.old)} and not learnt & {*row_hashes(data.new)}
    assert len(data.new) + len(data.recent) == 150


def test_too_few_labels_say_how_many_are_needed() -> None:
    with pytest.raises(TooFewLabels, match="5 labelled rows since noon, 11 are needed") as told:
        freeze(
            train=frame([(0, 0.0, 0)]), test=frame([]), new=requests([5]), target="y", minimum=10, where="since noon"
        )
    assert (told.value.found, told.value.needed, told.value.outcome) == (5, 11, "too_few_labels")
    with pytest.raises(TooFewLabels, match="all in the requests of the newest slice"):
        freeze(train=frame([(0, 0.0, 0)]), test=frame([]), new=requests([50]), target="y", minimum=10)


def test_the_slice_may_be_a_number_of_rows() -> None:
    given = {"train": frame([(0, 0.0, 0)]), "test": frame([]), "target": "y"}
    assert len(freeze(**given, new=requests([1] * 30), count=7).new) == 7
    assert len(freeze(**given, new=requests([1] * 20 + [4] * 3), count=6).new) == 8, "of whole requests"
    with pytest.raises(TooFewLabels, match="31 are needed"):
        freeze(**given, new=requests([1] * 30), count=30)
    for wrong in ({"count": 0}, {"minimum": 0}, {"share": 1.0}):
        with pytest.raises(ValueError, match=r"has to be|have to be"):
            freeze(**given, new=requests([1] * 30), **wrong)


def test_a_target_that_nobody_knows() -> None:
    with pytest.raises(UnfitRows, match="no column z"):
        freeze(train=frame([(0, 0.0, 0)]), test=frame([]), new=requests([50]), target="z")


def test_what_is_left_out_is_told_by_name() -> None:
    rows = requests([1, 1, 1])
    assert list(without(rows, rows[:1], rows[2:]).index) == ["r1/0"]
