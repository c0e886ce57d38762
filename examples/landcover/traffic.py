# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Asks the served model about pieces of images, as a camera would: those of its test set, by day or at dusk.

    python traffic.py                       500 segments like those that the model was trained on
    python traffic.py --drifted             ... at dusk: the same ones in darker colours, as never before
    python traffic.py --labels              ... and tells the platform afterwards what they really were

Standard library alone. The rows are those that train.py left in build/test.csv.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "shared"))

from asking import Example, Row, main

DUSK = 0.4
#: What grows with the light. A colour's hue and saturation don't.
LIGHT = (
    *("intensity-mean", "rawred-mean", "rawblue-mean", "rawgreen-mean"),
    *("exred-mean", "exblue-mean", "exgreen-mean", "value-mean"),
)


def in_light(segment: Row, light: float = DUSK) -> Row:
    """The same piece of the image, its colours by so much of the light that it was taken in."""
    return segment | {name: segment[name] * light for name in LIGHT}


EXAMPLE = Example(name="landcover", directory=HERE, target="category", rows="segments", drift=in_light)

if __name__ == "__main__":
    sys.exit(main(EXAMPLE, __doc__))
