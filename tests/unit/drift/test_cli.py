# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""`mlops-drift` as its users call it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from mlops_runtime.drift.cli import main
from pyarrow import parquet

NAMES = ["a", "b"]
CHANCE = np.random.default_rng(4)
TRAIN = CHANCE.normal(size=(300, 2))
TRAFFIC = np.concatenate([CHANCE.normal(size=(100, 2)), CHANCE.normal(2, 1, (50, 2))])
DECLARED = '[{"kind": "cusum", "threshold": 10}]'


def csv_file(path: Path, rows: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Path:
    path.write_text("\n".join(["a,b,colour", *(f"{a},{b},{'red' if a > 0 else 'blue'}" for a, b in rows.tolist())]))
    return path


def jsonl_file(path: Path) -> Path:
    records = [{"version": "1", "id": f"id-{i}", "names": NAMES, "X": [row]} for i, row in enumerate(TRAFFIC.tolist())]
    path.write_text("\n".join([*map(json.dumps, records), "{bad", json.dumps(records[0])]) + "\n")
    return path


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    data = csv_file(tmp_path / "train.csv", TRAIN)
    output = tmp_path / "drift"
    assert main(["fit", str(data), "-o", str(output), "--detectors", DECLARED, "--names", "a,b", "--model", "m"]) == 0
    return output


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "npz columns"])
def test_fit_reads_every_kind_of_table(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / f"train.{kind.split()[0]}"
    if kind == "csv":
        csv_file(data, TRAIN)
    elif kind == "parquet":
        parquet.write_table(pyarrow.table({"a": TRAIN[:, 0], "b": TRAIN[:, 1]}), data)
    elif kind == "npz":
        np.savez(data, rows=TRAIN, names=np.array(NAMES))
    else:
        np.savez(data, a=TRAIN[:, 0], b=TRAIN[:, 1])
    assert main(["fit", str(data), "-o", str(tmp_path / "drift"), "--detectors", "cusum", "--names", "a,b"]) == 0
    assert "cusum on 300 rows of 2 features" in capsys.readouterr().out


def test_declarations_come_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "detectors.json").write_text(DECLARED)
    data = csv_file(tmp_path / "train.csv", TRAIN)
    assert main(["fit", str(data), "-o", str(tmp_path / "x"), "--detectors", str(tmp_path / "detectors.json")]) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--detectors", "magic"], "there is no detector 'magic'"),
        (["--detectors", '[{"kind": "cusum", "odd": 1}]'], "no parameter odd"),
        (["--detectors", "cusum", "--names", "a,c"], "there is no column c"),
    ],
)
def test_fit_says_what_is_wrong(
    tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = csv_file(tmp_path / "train.csv", TRAIN)
    assert main(["fit", str(data), "-o", str(tmp_path / "drift"), *arguments]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "drift").exists()


def test_a_file_that_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.csv").write_text("a,b\n1\n")
    for name, says in (
        ("train.txt", "none of .csv, .parquet, .npz"),
        ("train.csv", "row 2: 1 values"),
        ("x.csv", "No such"),
    ):
        assert main(["fit", str(tmp_path / name), "-o", str(tmp_path / "drift")]) == 1
        assert says in capsys.readouterr().err


def test_inspect(artefact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", str(artefact)]) == 0
    shown = capsys.readouterr().out
    assert "model m" in shown
    assert "cusum     cusum  threshold=10  threshold=10" in shown
    assert main(["inspect", str(artefact), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [feature["name"] for feature in document["features"]] == NAMES
    assert document["detectors"][0]["calibration"] == {"threshold": 10.0}


def test_verify(artefact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(artefact), "--model", "m", "--names", "a,b,c"]) == 0
    capsys.readouterr()
    for arguments, says in (
        (["--model", "other"], "for the model 'm', not for 'other'"),
        (["--names", "a"], "the model has no b"),
        (["--sha256", "0" * 64], "changed after it was registered"),
    ):
        assert main(["verify", str(artefact), *arguments]) == 1
        assert says in capsys.readouterr().err
    (artefact / "cusum.npz").write_bytes(b"tampered")
    assert main(["verify", str(artefact)]) == 1
    assert "it was changed" in capsys.readouterr().err


def test_replay_of_records_and_of_rows_agree(
    artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["replay", str(artefact), str(jsonl_file(tmp_path / "stream.jsonl"))]) == 0
    of_records = capsys.readouterr().out.splitlines()
    assert "152 messages, 150 rows scored, 1 alarms; rejected: 1 bad_json, 1 duplicate" in of_records
    assert main(["replay", str(artefact), str(csv_file(tmp_path / "traffic.csv", TRAFFIC)), "--json"]) == 0
    of_rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    alarm, totals = of_rows[0]["alarm"], of_rows[-1]["totals"]
    assert of_records[0].startswith(f"row {alarm['row']}: cusum is ")
    assert 100 < alarm["row"] < 115
    assert totals["rows"] == 150


def test_replay_twice_gives_one_digest(artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = jsonl_file(tmp_path / "stream.jsonl")
    capsys.readouterr()
    digests = set()
    for _ in range(2):
        assert main(["replay", str(artefact), str(stream)]) == 0
        digests.add(capsys.readouterr().out.splitlines()[-1])
    assert len(digests) == 1
    assert digests.pop().startswith("state ")


def test_replay_of_one_version(artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = jsonl_file(tmp_path / "stream.jsonl")
    capsys.readouterr()
    assert main(["replay", str(artefact), str(stream), "--version", "2", "--json"]) == 0
    totals = json.loads(capsys.readouterr().out.splitlines()[-1])["totals"]
    assert (totals["rows"], totals["passed_over"]) == (0, 151)


def test_answers_and_their_truth_are_fitted_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = np.random.default_rng(1)
    sure = chance.random(800)
    answers = tmp_path / "answers.csv"
    answers.write_text("\n".join(["p,truth", *(f"{p},{int(chance.random() < p)}" for p in sure)]))
    data, output = csv_file(tmp_path / "train.csv", TRAIN), tmp_path / "drift"
    command = ["fit", str(data), "-o", str(output), "--detectors", "cusum", "--names", "a,b"]
    assert main([*command, "--outputs", str(answers), "--label", "truth"]) == 0
    assert "outputs-ewma, performance on 300 rows" in capsys.readouterr().out
    assert main(["inspect", str(output)]) == 0
    assert "performance on rows of no training: accuracy=0." in capsys.readouterr().out
    assert main(["inspect", str(output), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["outputs"] == {"kind": "probabilities", "classes": ["0", "1"], "width": 1}
    assert document["performance"]["accuracy"] > 0.6
    assert main([*command, "--label", "truth"]) == 1
    assert "--outputs, which isn't given" in capsys.readouterr().err
    assert main([*command, "--outputs", str(answers), "--label", "other"]) == 1
    assert "has no column 'other'" in capsys.readouterr().err
