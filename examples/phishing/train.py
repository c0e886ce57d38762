# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Trains a classifier of phishing pages and fits what watches it; saves both with its train and test sets.

The same files at each run. Which detectors are fitted says the declaration (model.yml), by way of MLOPS_DETECTORS;
the library that fits them, and saves the model, is this collection's (mlops_runtime).

The data are river's Phishing: 1,250 web pages, nine features with values 0, 0.5 and 1, and whether it was phishing
(Abdelhamid, Ayesh, Thabtah: Phishing detection based Associative Classification data mining, 2014).
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
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

TARGET = "is_phishing"
SEED = 2024


def load() -> pd.DataFrame:
    from river.datasets import Phishing  # where it is trained anew; a retraining has its data from the registry

    data = pd.read_csv(Phishing().path)
    return data.astype({name: float for name in data.columns if name != TARGET})


def fit(train: pd.DataFrame, C: float = 1.0) -> Pipeline:
    # Each value of a feature has a weight of its own: 0.5 ("suspicious") need not lie half way between 0 and 1.
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(C=C, max_iter=1000))
    # On arrays: then serving needs no pandas. The signature keeps the columns' names and order.
    return model.fit(features(train), train[TARGET])


def features(data: pd.DataFrame) -> np.ndarray:
    return data.drop(columns=TARGET).to_numpy()


def evaluate(model: Pipeline, test: pd.DataFrame) -> dict[str, float]:
    chance = model.predict_proba(features(test))[:, 1]
    return {
        "accuracy": round(float(accuracy_score(test[TARGET], chance > 0.5)), 4),
        "roc_auc": round(float(roc_auc_score(test[TARGET], chance)), 4),
    }


def save(model: Pipeline, train: pd.DataFrame, metrics: dict[str, float], path: Path) -> None:
    table = train.drop(columns=TARGET)
    signature = ModelSignature(
        inputs=Schema([ColSpec("double", name) for name in table.columns]),
        outputs=Schema([TensorSpec(np.dtype("float64"), (-1, 2))]),
    )
    saving.save(
        model,
        path,
        signature=signature,
        input_example=table.head(2),
        made_of=train.to_csv(index=False).encode(),
        metadata={"metrics": metrics, "classes": ["legitimate", "phishing"]},
    )


def watch(model: Pipeline, train: pd.DataFrame, test: pd.DataFrame, path: Path, name: str) -> list[str]:
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
        output_detectors=[],
        performance={"window": 200},
        seed=SEED,
    )
    write(replace(fitted, created=saving.MADE), path)
    return [*(detector.name for detector in fitted.detectors), "performance"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("build"))
    parser.add_argument("--name", default="phishing", help="the model's name (%(default)s)")
    options = parser.parse_args()
    output: Path = options.output
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # it misses pip in an environment without pip
    output.mkdir(parents=True, exist_ok=True)

    data = load()
    train, test = train_test_split(data, test_size=0.2, random_state=SEED, stratify=data[TARGET])
    hashes = {}
    for name, rows in (("train", train), ("test", test)):
        file = output / f"{name}.csv"
        rows.to_csv(file, index=False)
        hashes[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    model = fit(train)
    metrics = evaluate(model, test)
    save(model, train, metrics, output / "model")
    detectors = watch(model, train, test, output / "drift", options.name)
    (output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    for name, rows in (("train", train), ("test", test)):
        print(f"{name}: {len(rows)} rows, SHA-256 {hashes[name]}")
    print(", ".join(f"{name} {value}" for name, value in metrics.items()))
    print(f"watched by {', '.join(detectors) or 'nobody'}")


if __name__ == "__main__":
    main()
