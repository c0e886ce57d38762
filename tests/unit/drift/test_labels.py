# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""How well a model does, along its stream: answers, labels that come late or early, states that leave and return."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlops_runtime.drift import artefact as artefacts
from mlops_runtime.drift.artefact import Artefact, ArtefactError
from mlops_runtime.drift.fitting import fit
from mlops_runtime.drift.schema import Reason
from mlops_runtime.drift.stream import Message, Standing, Stream
from mlops_runtime.drift.watcher import Watcher

NAMES = ["a", "b"]
WINDOW = 200


def world(count: int, seed: int, *, flipped: float = 0.0) -> tuple[list[list[float]], list[list[float]], list[str]]:
    """Rows, a fair model's probabilities of two classes, and labels, of which a share is turned around."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 2))
    chance = 1 / (1 + np.exp(-3 * rows[:, 0]))
    truth = (rng.random(count) < chance) ^ (rng.random(count) < flipped)
    return rows.tolist(), np.column_stack([1 - chance, chance]).tolist(), ["yes" if one else "no" for one in truth]


def fitted(seed: int = 0) -> Artefact:
    rows, answers, labels = world(2000, seed)
    made = fit(
        np.array(rows),
        NAMES,
        detectors=["cusum"],
        model="m",
        outputs=answers,
        labels=labels,
        output_detectors=[],
        performance={"window": WINDOW},
    )
    return Artefact(**{**vars(made), "sha256": f"manifest-{seed}"})


ARTEFACT = fitted()


class Known:
    """Versions 1 and 2 are watched."""

    def find(self, version: str | None, made: float = 0) -> tuple[str, Artefact | Standing]:
        return version or "1", ARTEFACT if version in (None, "1", "2") else Standing.UNKNOWN


def stream() -> Stream:
    return Stream("m", Known())


def record(name: str, row: list[float], answer: list[Any] | None, version: str = "1") -> bytes:
    document = {"version": version, "id": name, "names": NAMES, "X": [row]}
    return json.dumps(document if answer is None else {**document, "Y": [answer]}).encode()


def label(name: str, value: Any) -> bytes:
    return json.dumps({"id": name, "y": value}).encode()


def messages(*values: bytes | None, begin: int = 0) -> list[Message]:
    return [Message(begin + index, 1_700_000_000_000 + index, value) for index, value in enumerate(values)]


def records(count: int, seed: int, version: str = "1") -> list[Message]:
    rows, answers, _ = world(count, seed)
    return messages(
        *(
            record(f"{seed}-{at}", row, answer, version)
            for at, (row, answer) in enumerate(zip(rows, answers, strict=True))
        )
    )


def labels(count: int, seed: int, flipped: float = 0.0, begin: int = 0) -> list[Message]:
    _, _, known = world(count, seed, flipped=flipped)
    return messages(*(label(f"{seed}-{at}", value) for at, value in enumerate(known)), begin=begin)


def performance(watched: Stream, version: str = "1") -> Any:
    found = watched.watchers[version].performance
    assert found is not None
    return found


def test_a_loss_without_drift_is_told_by_labels() -> None:
    watched = stream()
    assert not watched.takes_labels
    assert not any(alarm.detector == "performance" for alarm in watched.take(records(400, 1)).alarms)
    assert watched.takes_labels
    alarms = watched.take_labels(labels(400, 1, flipped=0.4, begin=7)).alarms
    assert {"accuracy", "f1"} <= {alarm.feature for alarm in alarms}
    assert {(alarm.version, alarm.detector) for alarm in alarms} == {("1", "performance")}
    # The label that filled a window is what raised it.
    assert {alarm.offset for alarm in alarms} <= {7 + WINDOW - 1, 7 + 2 * WINDOW - 1}
    assert watched.labels_offset == 407
    assert performance(watched).counts["joined"] == 400


def test_without_a_loss_nothing_is_told() -> None:
    watched = stream()
    watched.take(records(400, 2))
    assert watched.take_labels(labels(400, 2)).alarms == []
    assert performance(watched).metrics()["accuracy"] > 0.75


def test_a_label_goes_to_the_version_that_awaits_it() -> None:
    watched = stream()
    watched.take([*records(60, 3, "1"), *records(60, 4, "2")])
    watched.take_labels([*labels(60, 3), *labels(60, 4)])
    assert performance(watched, "1").counts["joined"] == performance(watched, "2").counts["joined"] == 60
    assert performance(watched, "1").waiting == performance(watched, "2").waiting == 0


def test_a_label_may_come_before_its_prediction() -> None:
    watched = stream()
    watched.take(records(1, 5))
    watched.take_labels(labels(60, 6))
    watched.take(records(60, 6))
    assert performance(watched).counts["joined"] == 60


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", Reason.BAD_JSON),
        (None, Reason.NOT_A_RECORD),
        (b"[]", Reason.NOT_A_RECORD),
        (label("x", "perhaps"), Reason.WRONG_LABEL),
        (label("x", {"a": 1}), Reason.WRONG_LABEL),
        (b'{"y": "yes"}', Reason.WRONG_LABEL),
        (b'{"id": 3, "y": "yes"}', Reason.WRONG_LABEL),
        (b'{"id": "x"}', Reason.WRONG_LABEL),
        (b'"' + b"x" * 2_000_000 + b'"', Reason.TOO_LARGE),
    ],
)
def test_a_label_that_cannot_be_is_a_dead_letter(value: bytes | None, reason: Reason) -> None:
    watched = stream()
    watched.take(records(60, 7))
    outcome = watched.take_labels([*messages(value), *labels(60, 7, begin=1)])
    assert [(dead.offset, dead.reason) for dead in outcome.dead] == [(0, reason)]
    assert watched.dead == {reason.value: 1}
    assert performance(watched).counts["joined"] == 60


def test_a_record_without_answers_or_id_costs_nothing_else() -> None:
    watched = stream()
    rows, answers, _ = world(3, 8)
    nameless = json.dumps({"version": "1", "X": [rows[2]], "Y": [answers[2]]}).encode()
    outcome = watched.take(messages(record("a", rows[0], None), record("b", rows[1], [0.5, None]), nameless))
    assert outcome.dead == []
    assert watched.watchers["1"].rows == 3
    assert performance(watched).waiting == 2


def test_a_state_goes_on_exactly() -> None:
    sent, known = records(500, 9), labels(500, 9, flipped=0.4)
    whole = stream()
    expected = whole.take(sent[:300]).alarms + whole.take_labels(known[:250]).alarms
    expected += whole.take(sent[300:]).alarms + whole.take_labels(known[250:]).alarms

    first = stream()
    found = first.take(sent[:300]).alarms + first.take_labels(known[:250]).alarms
    second = stream()
    second.restore(first.state())
    assert second.labels_offset == 250
    found += second.take(sent[300:]).alarms + second.take_labels(known[250:]).alarms
    assert found == expected
    assert second.digest() == whole.digest()


def test_what_comes_out_does_not_depend_on_how_messages_are_grouped() -> None:
    sent = records(700, 10)
    one, many = stream(), stream()
    expected = one.take(sent)
    found = [many.take(sent[at : at + 37]) for at in range(0, len(sent), 37)]
    assert [alarm for outcome in found for alarm in outcome.alarms] == expected.alarms
    assert many.digest() == one.digest()


def test_a_fault_switches_performance_off_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = stream()
    watched.take(records(10, 11))

    def fail(*_: object) -> None:
        raise ZeroDivisionError("no rows")

    monkeypatch.setattr(performance(watched), "predicted", fail)
    watched.take(messages(record("late", [0.0, 0.0], [0.5, 0.5]), begin=10))
    watcher = watched.watchers["1"]
    assert watcher.failed == {"performance": "ZeroDivisionError: no rows"}
    assert watcher.rows == 11
    assert not watched.takes_labels


def test_the_artefact_keeps_it(tmp_path: Path) -> None:
    sha256 = artefacts.write(ARTEFACT, tmp_path / "drift")
    read = artefacts.load(tmp_path / "drift", model="m", sha256=sha256)
    assert read.performance is not None
    assert read.performance.calibration["accuracy"] > 0.75
    assert Watcher(read).performance is not None
    manifest = json.loads((tmp_path / "drift/manifest.json").read_text())
    (tmp_path / "drift/manifest.json").write_text(json.dumps({**manifest, "outputs": None}))
    with pytest.raises(ArtefactError, match="what the outputs are isn't told"):
        artefacts.load(tmp_path / "drift")


def test_it_cannot_be_fitted_without_labels() -> None:
    rows, answers, _ = world(100, 0)
    with pytest.raises(ValueError, match="outputs and their labels"):
        fit(np.array(rows), NAMES, detectors=["cusum"], outputs=answers, output_detectors=[], performance={})
