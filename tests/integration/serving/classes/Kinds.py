# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of every kind, chosen by what is asked; tags and metrics of the one request."""

import numpy as np
from seldon_core.user_model import SeldonComponent, SeldonResponse

ANSWERS = {
    "text": "plain text",
    "bytes": b"\x00\xff raw",
    "dict": {"a": [1, 2.5, None, True], "b": {"c": "d"}},
    "list": [[1, 2], [3, 4]],
    "strings": [["x", "y"]],
    "mixed": [[1, "y"]],
    "flat": np.array([1, 2, 3]),
    "floats": np.array([[0.1, 1e300], [-0.0, 5e-324]]),
    "single": np.array([[0.1]], dtype=np.float32),
    "booleans": np.array([[True, False]]),
    "cube": np.arange(8).reshape(2, 2, 2),
    "empty": [],
    "nan": np.array([[np.nan, np.inf, -np.inf]]),
    "big": [[2**40, -(2**40)]],
    "tagged": SeldonResponse(
        data=[[1.5]], tags={"run": "time"}, metrics=[{"type": "GAUGE", "key": "gauge_now", "value": 4}]
    ),
    "bad-metric": SeldonResponse(data=[[1.5]], metrics=[{"type": "NOPE", "key": "x", "value": 4}]),
    "number": 5,
    "none": None,
}


class Kinds(SeldonComponent):
    def predict(self, X, names, meta=None):
        if isinstance(X, str) and X in ANSWERS:
            return ANSWERS[X]
        if isinstance(X, np.ndarray):
            return [[str(X.dtype), str(X.shape), str(list(names)), str(X.ravel().tolist())]]
        return {"kind": type(X).__name__, "value": str(X), "meta": meta or {}}
