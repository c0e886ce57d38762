# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The prediction stream: what a record of a request looks like, and on which topic it travels.

A record is JSON, its key the request's id. One record a request, whatever the number of its rows:

    {"schema": 1, "model": "phishing", "version": "3", "id": "9f…", "ts": "2026-11-24T05:19:31.123456Z",
     "names": ["length", …], "X": [[0.1, "a", null], …], "Y": [[0.9], …]}

`X` and `Y` have one row for each row of the request; values are numbers, strings or null. What isn't tabular has
`payload` in the place of `X`: {"content_type": …, "data": … or "uri": …, "sha256": …}; `embedding`, where the model
gives one, is one row of numbers for each row. The reference's `{"X": …, "Y": …}` alone is accepted too.

A label that arrives late goes to the labels' topic: {"id": …, "y": …}; `y` is one value, or one for each row.
"""

from __future__ import annotations

from typing import Final

SCHEMA: Final = 1
"""The newest form of a record. A reader refuses what is newer."""

DEFAULT_PREFIX: Final = "predictions."
"""Of topics, so that a model's name is no topic of somebody else's."""


def topic(model: str, prefix: str = DEFAULT_PREFIX) -> str:
    """Where a model's records go."""
    return f"{prefix}{model}"


def labels_topic(model: str, prefix: str = DEFAULT_PREFIX) -> str:
    """Where labels for a model's records go; as many partitions as the records' topic."""
    return f"{prefix}{model}.labels"


def dead_topic(model: str, prefix: str = DEFAULT_PREFIX) -> str:
    """Where goes what can't be read, as it came, with the headers `reason`, `topic`, `partition`, `offset`."""
    return f"{prefix}{model}.dead"
