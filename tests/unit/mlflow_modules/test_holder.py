# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.content import digest_of, scan
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.holder import (
    Holder,
    as_artifacts,
    as_datasets,
    as_metrics,
    as_params,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "train.csv").write_text("a\n1\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/train.csv").write_text("a\n2\n")
    (tmp_path / "empty").mkdir()
    return tmp_path


def tags(logged: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in logged["tags"]}


def test_a_stored_dataset_is_its_own_source(data: Path) -> None:
    schema = [{"name": "a", "type": "long"}]
    (dataset,) = as_datasets(
        [{"name": "d", "path": str(data / "train.csv"), "schema": schema, "profile": {"num_rows": 1}}]
    )
    digest = hashlib.sha256(b"a\n1\n").hexdigest()
    logged = dataset.as_input("mlflow-artifacts:/1/run/artifacts")
    assert tags(logged) == {"mlflow.data.context": "train", "mlops.sha256": digest}
    assert logged["dataset"]["digest"] == digest[:32]  # MLflow's column has 36
    assert json.loads(logged["dataset"]["source"]) == {
        "uri": "mlflow-artifacts:/1/run/artifacts/datasets/train/train.csv"
    }
    assert json.loads(logged["dataset"]["schema"]) == {"mlflow_colspec": schema}
    assert json.loads(logged["dataset"]["profile"]) == {"num_rows": 1}
    manifest = json.loads(Holder("e", "r", datasets=(dataset,)).manifest())
    assert manifest["datasets"] == [
        {
            "name": "d",
            "context": "train",
            "sha256": digest,
            "path": "datasets/train/train.csv",
            "size": 4,
            "schema": schema,
            "profile": {"num_rows": 1},
        }
    ]


def test_a_directory_goes_by_its_tree_digest(data: Path) -> None:
    (dataset,) = as_datasets([{"name": "d", "path": str(data / "other"), "context": "test"}])
    assert dataset.sha256 == digest_of(scan(data / "other"))
    assert [file.path for file in dataset.files] == ["datasets/test/other/train.csv"]


@pytest.mark.parametrize(
    ("source", "kind", "form"),
    [
        ("https://data.example/x.csv", "http", {"url": "https://data.example/x.csv"}),
        ("s3://bucket/x.csv", "s3", {"uri": "s3://bucket/x.csv"}),
        ("/srv/x.csv", "local", {"uri": "/srv/x.csv"}),
    ],
)
def test_a_dataset_elsewhere(source: str, kind: str, form: dict[str, str]) -> None:
    (dataset,) = as_datasets([{"name": "d", "digest": "abc", "source": source}])
    logged = dataset.as_input("mlflow-artifacts:/1")["dataset"]
    assert (logged["source_type"], json.loads(logged["source"])) == (kind, form)
    assert dataset.entry()["path"] is None


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ([{"name": "d"}], r"datasets\[0\]: give path, or digest"),
        ([{"name": "d", "digest": "x", "context": "a/b"}], r"datasets\[0\].context: 'a/b'"),
        (
            [{"name": "d", "digest": "x"}, {"name": "d", "digest": "y"}],
            r"datasets\[1\]: the dataset d is given twice for train",
        ),
        ([{"name": "d", "path": "{data}/none.csv"}], r"datasets\[0\].path: .*none.csv does not exist"),
        ([{"name": "d", "path": "{data}/empty"}], r"datasets\[0\].path: .*empty is empty"),
        ([{"name": "d", "path": "{data}/train.csv", "digest": "0" * 64}], r"datasets\[0\].digest: .* has the SHA-256"),
        (
            [{"name": "d", "path": "{data}/train.csv"}, {"name": "e", "path": "{data}/other/train.csv"}],
            r"datasets\[1\].path: d has the file name train.csv too",
        ),
    ],
)
def test_wrong_datasets(data: Path, datasets: list[dict[str, Any]], message: str) -> None:
    given = [{key: value.replace("{data}", str(data)) for key, value in one.items()} for one in datasets]
    with pytest.raises(InputError, match=message):
        as_datasets(given)


@pytest.mark.parametrize("target", ["", "/", "../x", "a/../b", "a//b", "model", "datasets/x"])
def test_where_artifacts_cant_go(data: Path, target: str) -> None:
    with pytest.raises(InputError, match=r"artifacts\[0\].artifact_path: "):
        as_artifacts([{"path": str(data / "train.csv"), "artifact_path": target}])


def test_artifacts(data: Path) -> None:
    files = as_artifacts([{"path": str(data / "other"), "artifact_path": "reports/"}])
    assert [file.path for file in files] == ["reports/train.csv"]
    with pytest.raises(InputError, match=r"reports/train.csv is given more than once"):
        as_artifacts(
            [
                {"path": str(data / "other"), "artifact_path": "reports"},
                {"path": str(data / "train.csv"), "artifact_path": "reports/train.csv"},
            ]
        )


@pytest.mark.parametrize("value", [math.nan, math.inf, "many", None, True])
def test_metrics_are_finite_numbers(value: Any) -> None:
    with pytest.raises(InputError, match=r"metrics: m is"):
        as_metrics({"m": value})
    assert as_metrics({"m": "0.5", "n": 1}) == {"m": 0.5, "n": 1.0}


def test_params() -> None:
    assert as_params({"C": 1.0, "solver": None}) == {"C": "1.0", "solver": ""}
    with pytest.raises(InputError, match=r"params: p has 6001 characters"):
        as_params({"p": "x" * 6001})
