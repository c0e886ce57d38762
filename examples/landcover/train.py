# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Trains a classifier of outdoor images' segments and fits what watches it; saves both with its train and test sets.

The same files at each run. Which detectors are fitted says the declaration (model.yml), by way of MLOPS_DETECTORS; the
library that fits them, and saves the model, is this collection's (mlops_runtime).

The data are river's ImageSegments: 2,310 pieces of seven outdoor images, 3 x 3 pixels each, 18 numbers on where they
lie, edges and colours, and which of seven classes they are (UCI, Statlog Image Segmentation, 1990).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import ColSpec, Schema, TensorSpec
from mlops_runtime.pipelines import saving
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

TARGET = "category"
SEED = 2024


def load() -> pd.DataFrame:
    from river.datasets import ImageSegments  # where it is trained anew; a retraining has its data from the registry

    # 224 segments come twice: their other half would be in the test set.
    data = pd.read_csv(ImageSegments().path).drop_duplicates()
    return data.astype({name: float for name in data.columns if name != TARGET})


def fit(
    train: pd.DataFrame,
    n_estimators: int = 60,
    max_depth: int = 16,
    max_features: float = 0.25,
    min_samples_leaf: int = 1,
) -> RandomForestClassifier:
    model = RandomForestClassifier(
        n_estimators=n_estimators,
        max_depth=max_depth,
        max_features=max_features,
        min_samples_leaf=min_samples_leaf,
        random_state=SEED,
    )
    # On arrays: then serving needs no pandas. The signature keeps the columns' names and order.
    return model.fit(features(train), train[TARGET].to_numpy(dtype=str))


def features(data: pd.DataFrame) -> np.ndarray:
    return data.drop(columns=TARGET).to_numpy()


def evaluate(model: RandomForestClassifier, test: pd.DataFrame) -> dict[str, float]:
    found = model.predict(features(test))
    return {
        "accuracy": round(float(accuracy_score(test[TARGET], found)), 4),
        "f1_macro": round(float(f1_score(test[TARGET], found, average="macro")), 4),
    }


def save(model: RandomForestClassifier, train: pd.DataFrame, metrics: dict[str, float], path: Path) -> None:
    table = train.drop(columns=TARGET)
    classes = model.classes_.tolist()
    signature = ModelSignature(
        inputs=Schema([ColSpec("double", name) for name in table.columns]),
        outputs=Schema([TensorSpec(np.dtype("float64"), (-1, len(classes)))]),
    )
    saving.save(
        model,
        path,
        signature=signature,
        input_example=table.head(2),
        made_of=train.to_csv(index=False).encode(),
        # Of trees skops can't check what their nodes point to: the registry's hash says that they are these.
        trusted=["sklearn.tree._tree.Tree"],
        metadata={"metrics": metrics, "classes": classes},
    )


def watch(model: RandomForestClassifier, train: pd.DataFrame, test: pd.DataFrame, path: Path, name: str) -> list[str]:
    """Fit the declared detectors on what the model was trained on, and its performance on what it wasn't; returns their
    names."""
    declared = json.loads(os.environ.get("MLOPS_DETECTORS", "[]"))
    if not declared:
        return []
    from mlops_runtime.drift.artefact import write
    from mlops_runtime.drift.fitting import fit as fit_detectors

    fitted = fit_detectors(
        train.drop(columns=TARGET),
        detectors=declared,
        model=name,
        outputs=model.predict_proba(features(test)),
        labels=test[TARGET].tolist(),
        classes=model.classes_.tolist(),
        output_detectors=[],
        performance={"window": 200},
        seed=SEED,
    )
    write(replace(fitted, created=saving.MADE), path)
    return [*(detector.name for detector in fitted.detectors), "performance"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("build"))
    parser.add_argument("--name", default="landcover", help="the model's name (%(default)s)")
    options = parser.parse_args()
    output: Path = options.output
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # it misses pip in an environment without pip
    output.mkdir(parents=True, exist_ok=True)

    data = load()
    train, test = train_test_split(data, test_size=0.2, random_state=SEED, stratify=data[TARGET])
    for name, rows in (("train", train), ("test", test)):
        file = output / f"{name}.csv"
        rows.to_csv(file, index=False)
        print(f"{name}: {len(rows)} rows, SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}")
    model = fit(train)
    metrics = evaluate(model, test)
    save(model, train, metrics, output / "model")
    detectors = watch(model, train, test, output / "drift", options.name)
    (output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(", ".join(f"{name} {value}" for name, value in metrics.items()))
    print(f"watched by {', '.join(detectors) or 'nobody'}")


if __name__ == "__main__":
    main()
