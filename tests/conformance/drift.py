# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Asks Prometheus through the gateway whether a model drifts, as an alert does; ends with 1 where it doesn't say so.

The password of `admin` comes in PROMETHEUS_ADMIN_PASSWORD.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import checks
from gateway_client import add_arguments, from_arguments
from metrics import PATIENCE, Pages


def drifting(pages: Pages, model: str) -> str:
    """What is missing; empty where the model is known to drift, and by which statistic."""
    found = pages.query(f'max by (model) (mlops_drift_detected{{model="{model}"}})')
    if not found:
        return f"there is no mlops_drift_detected of {model}"
    ratios = pages.query(f'mlops_drift_score_ratio{{model="{model}"}}')
    if not all({"version", "detector"} <= {*one["metric"]} for one in ratios):
        return f"a score ratio of {model} doesn't say of which version and detector it is"
    if not pages.query(f'mlops_model_performance{{model="{model}",metric="accuracy"}}'):
        return f"how well {model} does isn't told"
    return "" if found[0]["value"][1] == "1" else f"{model} isn't drifting"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--model", default="phishing")
    options = parser.parse_args()
    pages = Pages(from_arguments(options), os.environ["PROMETHEUS_ADMIN_PASSWORD"])

    def seen() -> None:
        checks.eventually(lambda: drifting(pages, options.model), PATIENCE)

    return checks.run([(f"{options.model} is seen to drift", seen)])


if __name__ == "__main__":
    sys.exit(main())
