# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Asks the served model about web pages, as a user of it would: pages of its test set, or those of a new campaign.

    python traffic.py                       500 pages like those that the model was trained on
    python traffic.py --drifted             ... whose addresses are bare IPs on young domains, as never before
    python traffic.py --labels              ... and tells the platform afterwards what they really were

Standard library alone. The rows are those that train.py left in build/test.csv.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "shared"))

from asking import Example, Row, main


def campaign(page: Row) -> Row:
    """What a new kind of phishing looks like: the pages are real ones, but for this."""
    return page | {"ip_in_url": 1.0, "age_of_domain": 0.0}


EXAMPLE = Example(
    name="phishing",
    directory=HERE,
    target="is_phishing",
    rows="pages",
    drift=campaign,
    label=float,
    classes={"0": "called legitimate", "1": "called phishing"},
)

if __name__ == "__main__":
    sys.exit(main(EXAMPLE, __doc__))
