# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Text, images and embeddings as rows: the same in another process, near where the inputs are near, bounded."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_runtime.drift.embedding import from_manifest
from mlops_runtime.drift.offline.domain_classifier import DomainClassifier
from mlops_runtime.drift.protocol import Reference


def made(name: str, **parameters: Any) -> Any:
    return from_manifest({"name": name, "parameters": parameters})


def record(data: Any, kind: str = "application/json") -> dict[str, Any]:
    return {"payload": {"content_type": kind, "data": data}}


def test_a_step_is_what_its_manifest_says() -> None:
    step = made("hashed_text", width=16)
    assert step.to_manifest() == {
        "name": "hashed_text",
        "parameters": {"width": 16, "shortest": 2, "longest": 4, "lower": True},
    }
    again = from_manifest(step.to_manifest())
    assert (again.row("a text") == step.row("a text")).all()
    assert [feature.name for feature in step.features] == [f"e{at}" for at in range(16)]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"name": "word2vec"}, "no preprocessing step 'word2vec'; there are embedding_from_record, hashed_text"),
        ({}, "no preprocessing step None"),
        ({"name": "hashed_text", "parameters": {"dims": 3}}, "no parameter 'dims'"),
        ({"name": "hashed_text", "parameters": {"width": 1}}, "width is 1"),
        ({"name": "embedding_from_record"}, "width is 0"),
        ({"name": "image_thumbnail", "parameters": {"maximum": 0}}, "maximum is 0"),
    ],
)
def test_what_is_not_there_is_named(manifest: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_manifest(manifest)


def test_embeddings_of_the_record() -> None:
    step = made("embedding_from_record", width=2)
    assert step.rows({"embedding": [[1, 2], [3, 4.5]]}).tolist() == [[1, 2], [3, 4.5]]
    assert step.rows({"embedding": [1, 2]}).tolist() == [[1, 2]]
    for wrong, message in (
        ({}, "has no embedding"),
        ({"embedding": [[1, 2, 3]]}, "rows of 2 numbers were trained on"),
        ({"embedding": [[1, None]]}, "no numbers"),
        ({"embedding": [[1, 2], [3]]}, "isn't an array of numbers"),
        ({"embedding": [["a", "b"]]}, "isn't an array of numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            step.rows(wrong)


def test_a_text_has_the_same_row_for_ever() -> None:
    row = made("hashed_text").row("Drift is a change of what comes in.")
    assert hashlib.sha256(np.round(row, 9).tobytes()).hexdigest()[:16] == "8ffe8f3e11264f35"


@settings(max_examples=20)
@given(text=st.text(max_size=60))
def test_any_text_has_a_row_of_length_one(text: str) -> None:
    row = made("hashed_text").row(text)
    assert row.shape == (32,)
    assert np.isfinite(row).all()
    assert np.linalg.norm(row) == pytest.approx(1.0 if len(text.lower()) >= 2 else 0.0, abs=1e-9) or not row.any()


def test_like_texts_are_near() -> None:
    step = made("hashed_text", width=256)
    invoice, bill, poem = step.rows(
        record(
            [
                "your invoice number 2231 is due on monday",
                "your invoice number 9917 is due on friday",
                "shall i compare thee to a summer's day",
            ]
        )
    )
    assert invoice @ bill > 0.5 > abs(invoice @ poem) + 0.2


def test_texts_are_bounded_and_checked() -> None:
    step = made("hashed_text")
    long = "ab" * 200_000
    assert (step.row(long) == step.row(long[:100_000])).all()
    with pytest.raises(ValueError, match="neither a text nor a list of texts"):
        step.rows(record([1, 2]))
    with pytest.raises(ValueError, match="isn't in the record"):
        step.rows({"payload": {"content_type": "text/plain", "sha256": "00"}})
    with pytest.raises(ValueError, match="has no payload"):
        step.rows({"X": [[1]]})


def test_images_as_arrays_and_bytes_are_the_same() -> None:
    step = made("image_thumbnail", height=20, width=30)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3))
    raw = base64.b64encode(pixels.astype(np.uint8).tobytes()).decode()
    rows = step.rows(record(pixels.tolist()))
    assert rows.shape == (1, 64 + 6)
    assert (rows == step.rows(record(raw, "application/octet-stream"))).all()
    assert (rows == step.rows(record([raw]))).all()
    assert rows.min() >= 0
    assert rows.max() <= 1
    assert rows[0, 64:67] == pytest.approx(pixels.mean(axis=(0, 1)) / 255)


def test_a_thumbnail_is_the_mean_of_its_cells() -> None:
    step = made("image_thumbnail", size=2, channels=1, maximum=1.0)
    image = np.zeros((4, 4))
    image[:2, 2:] = 1.0
    assert step.rows(record(image.tolist()))[0].tolist() == [0, 1, 0, 0, 0.25, pytest.approx(np.sqrt(3) / 4)]
    small = step.rows(record([[0.5]]))[0]
    assert small.tolist() == [0.5] * 4 + [0.5, 0.0]
    assert len(step.rows(record([image.tolist(), image.tolist()]))) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("%%%", "isn't base64"),
        ("AAAA", "3 bytes, not 2 x 2 x 3"),
        ([], "is empty"),
        ([1, 2, 3], "no image"),
        ([[1, None]], "no numbers"),
        ([[[1, 2]]], "1 channels; 3 were trained on"),
    ],
)
def test_no_image_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made("image_thumbnail", height=2, width=2).rows(record(data))


def test_a_change_of_language_is_drift() -> None:
    rng = np.random.default_rng(0)
    english = [
        "the",
        "model",
        "was",
        "trained",
        "on",
        "data",
        "that",
        "we",
        "have",
        "and",
        "it",
        "works",
        "well",
        "for",
        "them",
    ]
    german = [
        "das",
        "modell",
        "wurde",
        "mit",
        "daten",
        "vom",
        "jahr",
        "trainiert",
        "und",
        "es",
        "geht",
        "damit",
        "gut",
        "aber",
    ]
    step = made("hashed_text")

    def texts(words: list[str], count: int) -> np.ndarray:
        return step.rows(record([" ".join(rng.choice(words, 12)) for _ in range(count)]))

    reference = Reference(texts(english, 300), step.features)
    parameters = {"window": 60, "p_value": 0.001, "calibration": "mann_whitney", "folds": 2}
    detector = DomainClassifier.fit(reference, parameters)
    assert detector.score_many(texts(english, 60), np.zeros(60)) == []
    assert len(detector.score_many(texts(german, 60), np.zeros(60))) == 1
