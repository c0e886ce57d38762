# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the examples' traffic.py have in common: real rows, as they are or changed, are asked for one by one."""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platform_client import Gateway, Model, Refused

Row = dict[str, float]


@dataclass(frozen=True)
class Example:
    """`rows`: what they are called. `drift`: how a row changes. `label`: what the text in column `target` is told as.
    `classes`: what the model's classes are called, where it isn't by their own names."""

    name: str
    directory: Path
    target: str
    rows: str
    drift: Callable[[Row], Row]
    label: Callable[[str], object] = str
    classes: Mapping[str, str] = field(default_factory=dict)


def drawn(example: Example, file: Path, count: int, *, drifted: bool, seed: int) -> Iterator[tuple[Row, object]]:
    """Rows of the test set, drawn anew, each with what it really was."""
    with file.open(newline="") as stream:
        known = list(csv.DictReader(stream))
    for values in random.Random(seed).choices(known, k=count):
        row = {name: float(value) for name, value in values.items() if name != example.target}
        yield example.drift(row) if drifted else row, example.label(values[example.target])


def send(model: Model, rows: Iterator[tuple[Row, object]], *, labels: bool) -> Counter[str]:
    """Asks for each row by itself; returns how often the model answered what."""
    answers: Counter[str] = Counter()
    for row, truth in rows:
        prediction = model.predict(row)
        answers[prediction.answer] += 1
        if labels:
            model.tell(prediction, truth)
    return answers


def main(example: Example, description: str | None) -> int:
    what = example.rows
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drifted", action="store_true", help=f"{what} of a new kind")
    parser.add_argument("--labels", action="store_true", help=f"tell what the {what} really were")
    parser.add_argument("--rows", type=int, default=500, help=f"how many {what} (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help=f"which {what}")
    parser.add_argument("--url", default="http://localhost", help="the platform's address (%(default)s)")
    parser.add_argument("--address", default="", help="where the gateway is reached while the domain doesn't resolve")
    parser.add_argument("--ca", default="", help="PEM file to trust, such as inventories/<name>/tls/ca.pem")
    parser.add_argument("--namespace", default="mlops", help="the platform's name (%(default)s)")
    parser.add_argument("--model", default=example.name)
    parser.add_argument("--data", type=Path, default=example.directory / "build/test.csv")
    options = parser.parse_args()
    model = Model(Gateway(options.url, options.address, options.ca), options.namespace, options.model)
    rows = drawn(example, options.data, options.rows, drifted=options.drifted, seed=options.seed)
    try:
        answers = send(model, rows, labels=options.labels)
    except (Refused, OSError) as error:
        print(f"{options.url}: {error}", file=sys.stderr)
        return 1
    told = ", ".join(f"{count} {example.classes.get(name, name)}" for name, count in sorted(answers.items()))
    print(f"{options.rows} {what}: {told}")
    return 0
