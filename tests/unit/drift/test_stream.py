# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Messages in, alarms and dead letters out: the same however messages are grouped, and wherever the process ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_runtime.drift.artefact import Artefact
from mlops_runtime.drift.embedding import EmbeddingFromRecord
from mlops_runtime.drift.fitting import fit
from mlops_runtime.drift.packing import pack, unpack
from mlops_runtime.drift.recent import RecentIds
from mlops_runtime.drift.schema import Reason
from mlops_runtime.drift.stream import Message, NotYet, Standing, Stream

NAMES = ["a", "b", "c"]


def fitted(seed: int = 0) -> Artefact:
    rows = np.random.default_rng(seed).normal(size=(400, 3))
    made = fit(rows, NAMES, detectors=["cusum", {"kind": "cusum", "name": "quick", "threshold": 4.0}], model="m")
    return Artefact(**{**vars(made), "sha256": f"manifest-{seed}"})


ARTEFACT = fitted()


class Known:
    """Versions 1 and 2 are watched, 3 isn't; 4 is being brought. Records without a version are of 2."""

    def __init__(self) -> None:
        self.known: dict[str, Artefact | Standing] = {
            "1": ARTEFACT, "2": ARTEFACT, "3": Standing.UNWATCHED, "4": Standing.PENDING
        }  # fmt: skip

    def find(self, version: str | None, made: float = 0) -> tuple[str, Artefact | Standing]:
        name = "2" if version is None else version
        return name, self.known.get(name, Standing.UNKNOWN)


def stream(**options: Any) -> Stream:
    return Stream("m", Known(), **options)


def record(**changes: Any) -> bytes:
    document = {"schema": 1, "model": "m", "version": "1", "names": NAMES, "X": [[0.1, 0.2, 0.3]], **changes}
    return json.dumps({name: value for name, value in document.items() if value is not ...}).encode()


def messages(*values: bytes | None, begin: int = 0) -> list[Message]:
    return [Message(begin + index, 1_700_000_000_000 + index, value) for index, value in enumerate(values)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", Reason.BAD_JSON),
        (b"\xff\xfe", Reason.BAD_JSON),
        (b"[" * 100_000, Reason.BAD_JSON),
        (None, Reason.NOT_A_RECORD),
        (b"[1]", Reason.NOT_A_RECORD),
        (b"null", Reason.NOT_A_RECORD),
        (record(X=[[float("nan"), 1, 2]]), Reason.NON_FINITE),
        (record(X=[[float("inf"), 1, 2]]), Reason.NON_FINITE),
        (record().replace(b"0.1", b"1e999"), Reason.NON_FINITE),
        (record(X=[["0.1", 0.2, 0.3]]), Reason.WRONG_TYPE),
        (record(X=[[0.1, 0.2]], names=...), Reason.WRONG_SHAPE),
        (record(X=...), Reason.WRONG_SHAPE),
        (record(names=["a", "b", "d"]), Reason.WRONG_NAMES),
        (record(model="other"), Reason.UNKNOWN_MODEL),
        (record(version="99"), Reason.UNKNOWN_VERSION),
        (record(version=["1"]), Reason.NOT_A_RECORD),
        (record(schema=2), Reason.NEWER_SCHEMA),
        (record(schema="1"), Reason.NOT_A_RECORD),
        (record(id=7), Reason.NOT_A_RECORD),
        (record(id="seen"), Reason.DUPLICATE),
        (record(pad="x" * 1_000_001), Reason.TOO_LARGE),
    ],
)
def test_poison_is_a_dead_letter_with_its_reason(value: bytes | None, reason: Reason) -> None:
    watched = stream()
    outcome = watched.take(messages(record(id="seen"), value, record(id="other")))
    assert [(letter.reason, letter.offset) for letter in outcome.dead] == [(reason, 1)]
    assert watched.dead == {reason: 1}
    assert watched.watchers["1"].rows == 2
    assert watched.offset == 3


def test_a_record_that_was_rejected_may_come_again_corrected() -> None:
    watched = stream()
    outcome = watched.take(messages(record(id="x", X=[[1]]), record(id="x")))
    assert [letter.reason for letter in outcome.dead] == [Reason.WRONG_SHAPE]
    assert watched.watchers["1"].rows == 1


def test_the_reference_s_own_form_and_whole_numbers_as_versions() -> None:
    watched = stream()
    watched.take(messages(b'{"X": [[1, 2, 3], [4, 5, 6]], "Y": [0, 1]}', record(version=1)))
    assert {version: watcher.rows for version, watcher in watched.watchers.items()} == {"2": 2, "1": 1}


def test_a_version_without_detectors_is_passed_over_and_counted() -> None:
    watched = stream()
    assert watched.take(messages(record(version="3"), record(version="3"))).dead == []
    assert (watched.unwatched, watched.offset) == ({"3": 2}, 2)


def test_a_version_that_is_being_brought_holds_the_stream() -> None:
    watched = stream()
    outcome = watched.take(messages(record(), record(version="4"), record()))
    assert (outcome.held, watched.offset, watched.watchers["1"].rows) == (1, 1, 1)


def test_times_never_go_back_and_wrong_clocks_are_not_heeded() -> None:
    watched = stream()
    at = 1_700_000_000_000
    texts = ["2023-11-14T22:13:20Z", "2023-11-14T22:13:10Z", "2093-01-01T00:00:00Z", "no time", 5, None]
    seen = [watched._when(text, at + 1000 * index) for index, text in enumerate(texts)]
    assert seen == [1.7e9, 1.7e9, 1.7e9 + 2, 1.7e9 + 3, 1.7e9 + 4, 1.7e9 + 5]
    assert stream()._when("2023-11-14T23:13:20+01:00", at) == 1.7e9
    assert stream()._when("2023-11-14T22:13:20", at) == 1.7e9


def traffic(seed: int, count: int = 300) -> list[Message]:
    """Of two versions, with drift, missing values, poison and what was sent twice."""
    chance = np.random.default_rng(seed)
    values: list[bytes | None] = []
    for index in range(count):
        rows = (chance.normal(0.8 * (index > count / 2), 1, (int(chance.integers(1, 4)), 3))).tolist()
        if chance.random() < 0.1:
            rows[0][1] = None
        kind = chance.random()
        if kind < 0.05:
            values.append([b"{", None, record(X=[[1]]), record(version="99")][int(chance.integers(4))])
        elif kind < 0.1 and values:
            values.append(values[int(chance.integers(len(values)))])
        else:
            values.append(record(version=str(chance.integers(1, 3)), id=f"id-{seed}-{index}", X=rows))
    return messages(*values)


@settings(max_examples=30)
@given(st.integers(0, 5), st.lists(st.tuples(st.integers(1, 90), st.booleans()), min_size=1, max_size=12))
def test_neither_grouping_nor_restarts_change_anything(seed: int, steps: list[tuple[int, bool]]) -> None:
    """Steps: so many messages, and whether the process then ends and a successor takes up its state."""
    whole, parts = stream(ids=40), stream(ids=40)
    all_messages = traffic(seed)
    expected = whole.take(all_messages)
    alarms, dead, place = [], [], 0
    for size, restart in [*steps, (len(all_messages), False)]:
        outcome = parts.take(all_messages[place : place + size])
        place += size
        alarms += outcome.alarms
        dead += outcome.dead
        if restart:
            successor = stream(ids=40)
            successor.restore(parts.state())
            assert successor.offset == parts.offset
            parts = successor
    assert alarms == expected.alarms
    assert len(alarms) > 2
    assert dead == expected.dead
    assert parts.digest() == whole.digest()


@pytest.mark.parametrize("seed", range(4))
def test_the_short_way_does_what_the_long_one_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = stream(), stream()
    all_messages = [*traffic(seed), *messages(*ODD, begin=300)]
    taken = short.take(all_messages)
    monkeypatch.setattr(Stream, "_read_plain", lambda *_: False)
    assert long.take(all_messages) == taken
    assert long.digest() == short.digest()


ODD = [
    record(id="a"),
    record(id="a"),
    record(id="b", X=["abc"]),
    record(id="c", X=[{"a": 1, "b": 2, "c": 3}]),
    record(id="d", X=[[1, 2, True]]),
    record(id="e", X=[[1, 2, "3"]]),
    record(id="f", X=[[1, 2, None]]),
    record(id="g", X=[[1, 2, [3]]]),
    record(id="h", names=["c", "b", "a"]),
    record(id="i", names=None),
    record(id="j", schema=True),
    record(id="k", schema=1.0),
    record(id="l", ts="2023-11-14T22:13:20Z"),
    record(id="m", pad="x" * 1_000_001),
    record(id="n", version=1),
    record(id="o", model=None),
    record(id=""),
    record(id=None),
    b"[]",
    None,
]


def test_a_state_waits_for_its_versions() -> None:
    watched = stream()
    watched.take(messages(record()))
    known = Known()
    known.known["1"] = Standing.PENDING
    with pytest.raises(NotYet):
        Stream("m", known).restore(watched.state())


def test_another_artefact_begins_anew_and_says_so() -> None:
    watched = stream()
    watched.take(messages(record(), record(version="2")))
    known = Known()
    known.known["1"] = fitted(1)
    successor = Stream("m", known)
    successor.restore(watched.state())
    assert list(successor.watchers) == ["2"]
    assert successor.notes == ["version 1 has another artefact than before: it begins anew"]


def test_a_state_of_another_model_or_no_state() -> None:
    watched = Stream("other", Known())
    with pytest.raises(ValueError, match="of the model 'other', not of 'm'"):
        stream().restore(watched.state())
    with pytest.raises(ValueError, match="no packed state"):
        stream().restore(b"nonsense" * 10)
    with pytest.raises(ValueError, match="no packed state"):
        stream().restore(watched.state()[:-1])


def test_a_detector_that_fails_is_off_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = stream()
    watched.take(messages(record()))
    watcher = watched.watchers["1"]
    monkeypatch.setattr(watcher.detectors["quick"], "score_many", lambda *_: 1 / 0)
    watched.take(messages(record(), begin=1))
    assert watcher.failed == {"quick": "ZeroDivisionError: division by zero"}
    assert [name for name, _ in watcher.readings()] == ["cusum"]
    successor = stream()
    successor.restore(watched.state())
    assert successor.digest() == watched.digest()


def test_recent_ids_are_bounded_and_leave_in_order() -> None:
    recent = RecentIds(3)
    for item in "abcd":
        recent.add(item)
    assert [item in recent for item in "abcd"] == [False, True, True, True]
    successor = RecentIds(3)
    successor.restore(recent.state())
    assert [item in successor for item in "abcd"] == [False, True, True, True]
    successor.add("e")
    recent.add("e")
    assert [item in successor for item in "abcde"] == [False, False, True, True, True]
    np.testing.assert_array_equal(successor.state(), recent.state())


def test_packing_holds_no_objects(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6, dtype=">i4").reshape(2, 3), "a": np.array(["x", "yz"]), "empty": np.zeros((0, 4))}
    document, found = unpack(pack({"n": 1.1}, arrays))
    assert document == {"n": 1.1}
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
    with pytest.raises(ValueError, match="isn't plain memory"):
        pack({}, {"a": np.array([{}], dtype=object)})


class One:
    """One version of one artefact."""

    def __init__(self, artefact: Artefact) -> None:
        self._artefact = artefact

    def find(self, version: str | None, made: float = 0) -> tuple[str, Artefact | Standing]:
        return version or "1", self._artefact


def test_outputs_are_watched_beside_inputs() -> None:
    chance = np.random.default_rng(1)
    answers = chance.uniform(0, 0.4, (400, 1)).tolist()
    made = fit(
        chance.normal(size=(400, 3)), NAMES, detectors=["cusum"], outputs=answers, labels=[0, 1] * 200,
        output_detectors=["cusum"], model="m",
    )  # fmt: skip
    watched = Stream("m", One(made))
    calm = [record(id=f"c{i}", X=[chance.normal(size=3).tolist()], Y=[[chance.uniform(0, 0.4)]]) for i in range(100)]
    odd = [record(id=f"o{i}", X=[chance.normal(size=3).tolist()], Y=[[chance.uniform(0.6, 1)]]) for i in range(60)]
    outcome = watched.take(messages(*calm, *odd))
    assert {alarm.detector for alarm in outcome.alarms} == {"outputs-cusum"}
    assert 100 < outcome.alarms[0].row < 115
    missing = watched.take(messages(record(id="x"), record(id="y", X=[[1, 2, 3]] * 2, Y=None), begin=160))
    assert missing.dead == []
    wrong = [record(id="z", Y=[["a"]]), record(id="w", Y=[[0.1], [0.2]]), record(id="v", Y=3)]
    assert [letter.reason for letter in watched.take(messages(*wrong, begin=162)).dead] == [Reason.WRONG_OUTPUT] * 3
    assert watched.watchers["1"].rows == 163


def test_embeddings_are_rows_of_what_is_not_tabular() -> None:
    step = EmbeddingFromRecord({"width": 4})
    rows = np.random.default_rng(1).normal(size=(100, 4))
    watched = Stream("m", One(fit(rows, detectors=["cusum"], preprocessing=step, model="m")))
    good = record(id="a", X=..., names=..., payload={"content_type": "text/plain"}, embedding=[[1, 2, 3, 4]])
    bad = record(id="b", X=..., names=..., embedding=[[1, 2]])
    outcome = watched.take(messages(good, bad, record(id="c")))
    assert [letter.reason for letter in outcome.dead] == [Reason.WRONG_PAYLOAD] * 2
    assert watched.watchers["1"].rows == 1
