# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Measures of a model over a window of rows. Those of a confusion matrix take expected counts as well as real ones."""

from __future__ import annotations

from typing import Final

import numpy as np

from mlops_runtime.drift.protocol import FloatArray

CLASSIFICATION: Final = ("accuracy", "f1", "precision", "recall")
REGRESSION: Final = ("mae", "rmse")
LARGER_IS_WORSE: Final = frozenset({"log_loss", "mae", "rmse"})
SMALLEST_PROBABILITY: Final = 1e-15


def of_confusion(matrix: FloatArray) -> dict[str, float]:
    """From a matrix, shape (classes, classes), with the true class in its rows and the predicted one in its columns.

    With two classes precision, recall and f1 are those of the second; with more the plain mean over the classes that
    are there or were predicted (scikit-learn's `macro`). Where nothing was predicted, precision is 0.
    """
    hits = np.diag(matrix)
    predicted, actual = matrix.sum(axis=0), matrix.sum(axis=1)
    precision = share(hits, predicted)
    recall = share(hits, actual)
    f1 = share(2 * hits, predicted + actual)
    chosen = np.array([False, True]) if len(matrix) == 2 else (predicted + actual) > 0
    return {
        "accuracy": float(hits.sum() / matrix.sum()),
        "f1": float(f1[chosen].mean()),
        "precision": float(precision[chosen].mean()),
        "recall": float(recall[chosen].mean()),
    }


def share(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0)


def confusion(predicted: FloatArray, labels: FloatArray, classes: int) -> FloatArray:
    """From places of classes, shape (n,) each."""
    flat = np.bincount(labels.astype(np.int64) * classes + predicted.astype(np.int64), minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.float64)


def log_loss(probabilities: FloatArray, labels: FloatArray) -> float:
    """Of probabilities, shape (n, classes), in nats."""
    total = probabilities.sum(axis=1)
    chosen = probabilities[np.arange(len(labels)), labels.astype(np.int64)] / np.where(total > 0, total, 1.0)
    return float(-np.log(np.clip(chosen, SMALLEST_PROBABILITY, 1.0)).mean())


def of_errors(predicted: FloatArray, labels: FloatArray) -> dict[str, float]:
    """Of values, shape (n,) each, in the label's unit."""
    errors = predicted - labels
    return {"mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt((errors**2).mean()))}
