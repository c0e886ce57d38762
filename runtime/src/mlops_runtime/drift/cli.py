# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: `mlops-drift fit | inspect | verify | replay`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mlops_runtime.drift import artefact as artefacts
from mlops_runtime.drift.artefact import Artefact, ArtefactError
from mlops_runtime.drift.fitting import fit
from mlops_runtime.drift.replay import Replay, lines, rows_of
from mlops_runtime.drift.tables import read_table
from mlops_runtime.drift.watcher import Watcher


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0; 1 where what was asked for can't be, with the reason on standard error."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        return code
    except (ValueError, OSError) as error:
        print(f"mlops-drift: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlops-drift", description="Drift detectors of a model, as files.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("fit", help="fit detectors on a table and write the artefact")
    command.add_argument("data", type=Path, help="the reference: .csv, .parquet or .npz")
    command.add_argument("--output", "-o", type=Path, required=True, metavar="DIRECTORY", help="replaced as a whole")
    command.add_argument(
        "--detectors", default="ewma", metavar="LIST", help="JSON list, a file with one, or kinds with commas (ewma)"
    )
    command.add_argument("--model", default="", help="the model's name, which the artefact is then held to")
    command.add_argument(
        "--names", default="", metavar="A,B", help="the model's features, in its order; else all columns"
    )
    command.add_argument("--categorical", default="", metavar="A,B", help="columns of numbers that are categories")
    command.add_argument(
        "--outputs",
        type=Path,
        metavar="FILE",
        help="the model's answers to rows that it was not trained on, a column each: they are watched, too",
    )
    command.add_argument(
        "--label", default="", metavar="COLUMN", help="of that file: the truth. Performance is watched"
    )
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(command=_fit)

    command = commands.add_parser("inspect", help="tell what an artefact holds")
    command.add_argument("artefact", type=Path)
    command.add_argument("--json", action="store_true", help="as JSON in the place of a table")
    command.set_defaults(command=_inspect)

    command = commands.add_parser("verify", help="check every file, and that each detector can be loaded; 1 if not")
    command.add_argument("artefact", type=Path)
    command.add_argument("--model", default="", help="that it is for this model")
    command.add_argument("--names", default="", metavar="A,B", help="that it fits a model of these features")
    command.add_argument("--sha256", default="", help="that its manifest has this hash")
    command.set_defaults(command=_verify)

    command = commands.add_parser(
        "replay", help="run a recorded stream through it; tell alarms, totals, state's digest"
    )
    command.add_argument("artefact", type=Path)
    command.add_argument("stream", help="records: .jsonl or - (standard input); rows: .csv, .parquet, .npz")
    command.add_argument("--model", default="", help="whose records; else the artefact's own")
    command.add_argument("--version", default="", help="of which version alone")
    command.add_argument("--json", action="store_true", help="a JSON object a line")
    command.set_defaults(command=_replay)
    return parser


def _fit(options: argparse.Namespace) -> int:
    outputs, labels = _answers(options.outputs, options.label)
    made = fit(
        read_table(options.data),
        _names(options.names),
        detectors=_declared(options.detectors),
        directory=options.output,
        model=options.model,
        categorical=_names(options.categorical) or [],
        outputs=outputs,
        labels=labels,
        performance={} if options.label else None,
        seed=options.seed,
    )
    kinds = ", ".join([detector.name for detector in made.detectors] + ["performance"] * (made.performance is not None))
    print(f"{options.output}: {kinds} on {made.rows} rows of {len(made.schema)} features")
    return 0


def _answers(file: Path | None, label: str) -> tuple[list[Any] | None, list[Any]]:
    """The model's answers, a row each, and their labels."""
    if file is None:
        if label:
            raise ValueError("--label names a column of --outputs, which isn't given")
        return None, []
    table = read_table(file)
    if label and label not in table:
        raise ValueError(f"{file} has no column {label!r}")
    columns = {name: values.tolist() if isinstance(values, np.ndarray) else values for name, values in table.items()}
    labels = list(columns.pop(label)) if label else []
    if not columns:
        raise ValueError(f"{file} has no column with answers")
    return [list(row) for row in zip(*columns.values(), strict=True)], labels


def _declared(text: str) -> list[object]:
    if text.lstrip().startswith(("[", "{")):
        found = json.loads(text)
    elif Path(text).is_file():
        found = json.loads(Path(text).read_text())
    else:
        found = [kind for kind in text.split(",") if kind]
    return found if isinstance(found, list) else [found]


def _names(text: str) -> list[str] | None:
    return [name.strip() for name in text.split(",")] if text else None


def _inspect(options: argparse.Namespace) -> int:
    found = artefacts.load(options.artefact, arrays=False)
    if options.json:
        print(json.dumps(_document(found), indent=2))
        return 0
    print(f"model {found.model or '(any)'}, fitted {found.created} on {found.rows} rows, format {artefacts.FORMAT}")
    print(f"libraries: {', '.join(f'{name} {version}' for name, version in found.libraries.items())}")
    print(f"SHA-256 of the manifest: {found.sha256}\n")
    features = [["feature", "kind", "range or categories", "missing"]]
    for column in found.schema.columns:
        categories = column.feature.categories
        extent = f"{column.minimum:g} to {column.maximum:g}" if categories is None else _shortened(categories)
        kind = "numeric" if categories is None else "categorical"
        features.append([column.name, kind, extent, f"{column.missing:.1%}"])
    detectors = [["detector", "kind", "parameters", "calibration"]]
    for detector in found.detectors:
        detectors.append([detector.name, detector.kind, _pairs(detector.parameters), _pairs(detector.calibration)])
    print(_table(features), _table(detectors), sep="\n\n")
    if found.performance:
        print(f"\nperformance on rows of no training: {_pairs(found.performance.calibration)}")
    return 0


def _document(found: Artefact) -> dict[str, Any]:
    return {
        "model": found.model,
        "created": found.created,
        "rows": found.rows,
        "sha256": found.sha256,
        "features": [column.to_dict() for column in found.schema.columns],
        "detectors": [
            {
                "name": detector.name,
                "kind": detector.kind,
                "parameters": dict(detector.parameters),
                "calibration": dict(detector.calibration),
            }
            for detector in found.detectors
        ],
        "libraries": dict(found.libraries),
        "preprocessing": found.preprocessing,
        "outputs": found.outputs,
        "performance": None if found.performance is None else dict(found.performance.calibration),
    }


def _shortened(categories: Sequence[str]) -> str:
    return ", ".join(categories[:6]) + (f", … ({len(categories)})" if len(categories) > 6 else "")


def _pairs(values: Any) -> str:
    shown = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in dict(values).items()}
    return ", ".join(f"{name}={value}" for name, value in shown.items()) or "-"


def _table(rows: list[list[str]]) -> str:
    """Columns as wide as what is in them."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _verify(options: argparse.Namespace) -> int:
    try:
        found = artefacts.load(
            options.artefact, model=options.model, names=_names(options.names), sha256=options.sha256
        )
        Watcher(found)
    except (ArtefactError, ValueError) as error:
        print(f"{options.artefact}: {error}", file=sys.stderr)
        return 1
    print(f"{options.artefact}: whole; {len(found.detectors)} detectors of {len(found.schema)} features")
    return 0


def _replay(options: argparse.Namespace) -> int:
    found = artefacts.load(options.artefact)
    replay = Replay(found, options.model or found.model, options.version)
    path = Path(options.stream)
    if options.stream == "-":
        values = lines(sys.stdin.buffer)
    elif path.suffix in (".jsonl", ".json"):
        values = lines(path.open("rb"))
    else:
        values = rows_of(path)
    for alarm in replay.alarms(values):
        if options.json:
            print(orjson.dumps({"alarm": asdict(alarm)}).decode())
        else:
            feature = f" of {alarm.feature}" if alarm.feature else ""
            print(f"row {alarm.row}: {alarm.detector}{feature} is {alarm.statistic:.6g}, above {alarm.threshold:.6g}")
    totals = replay.totals
    if options.json:
        print(orjson.dumps({"totals": asdict(totals)}).decode())
        return 0
    dead = ", ".join(f"{count} {reason}" for reason, count in sorted(totals.dead.items())) or "none"
    print(f"{totals.messages} messages, {totals.rows} rows scored, {totals.alarms} alarms; rejected: {dead}")
    print(f"state {totals.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
