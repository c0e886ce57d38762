# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The plots of docs/drift.md, as Mermaid charts on standard output.

python tests/benchmark/drift_plots.py
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from drift_detection import BLOCK, NUMERIC, ROWS, STATED, Ours, delays, gaussian, run_lengths, shifted
from mlops_runtime.drift.online.ewma import Ewma
from mlops_runtime.drift.protocol import Reference

RUNS = 400
STEP = 20


def chart(title: str, across: str, ticks: str, up: str, lines: Mapping[str, Sequence[float]]) -> None:
    highest = max(max(values) for values in lines.values())
    print(f'```mermaid\nxychart-beta\n  title "{title}"\n  x-axis "{across}" {ticks}')
    print(f'  y-axis "{up}" 0 --> {highest * 1.05:.3g}')
    for values in lines.values():
        print(f"  line [{', '.join(f'{value:.3g}' for value in values)}]")
    print(f"```\n{'; '.join(lines)}\n")


def statistic(contender: Ours, random: np.random.Generator, by: float) -> list[float]:
    """The largest ratio of all features, every STEP rows: 300 rows as usual, then 200 that are shifted."""
    detector = contender.detector
    detector.restore(contender.beginning)
    rows = np.concatenate([gaussian(random, 300), shifted(by)(random, 200)])
    found = []
    for begin in range(0, len(rows), STEP):
        detector.score_many(rows[begin : begin + STEP], np.zeros(STEP))
        found.append(max(reading.ratio for reading in detector.readings()))
    return found


def main() -> None:
    random = np.random.default_rng(7)
    contender = Ours(Ewma, Reference(gaussian(random, ROWS), NUMERIC))
    drawn = statistic(contender, random, 0.5)
    chart(
        "Three of 30 features move by half a standard deviation at row 300",
        "row",
        f"{STEP} --> {STEP * len(drawn)}",
        "largest ratio",
        {"the largest ratio of all features": drawn, "the threshold": [1.0] * len(drawn)},
    )
    lengths = run_lengths(contender, gaussian, random, RUNS)
    ends = range(0, 3 * STATED + 1, BLOCK)
    chart(
        f"Runs without drift that had no alarm so far, of {RUNS}; stated run time {STATED}",
        "rows",
        f"0 --> {3 * STATED}",
        "share of the runs",
        {
            "measured": [float((lengths > rows).mean()) for rows in ends],
            "as it should be, exp(-rows / 1000)": [float(np.exp(-rows / STATED)) for rows in ends],
        },
    )
    sizes = [0.25, 0.375, 0.5, 0.75, 1.0, 1.5]
    found = [float(delays(contender, gaussian, shifted(by), random, 100, 5000).mean()) for by in sizes]
    chart(
        "Rows from a change of three of 30 features to the alarm",
        "change in standard deviations",
        str(sizes),
        "rows",
        {"the mean of 100 changes": found},
    )


if __name__ == "__main__":
    main()
