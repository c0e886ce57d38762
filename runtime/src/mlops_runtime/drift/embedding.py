# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Text and images as rows of numbers, for the multivariate detectors.

A preprocessing step has a name and parameters, which are all that it is: they are kept in the artefact's manifest, so
that the service makes the same rows as the training did. None of them holds code or learnt weights. A model that has
embeddings of its own puts them into the record; they are the better rows, since they hold what the model sees.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Final

import numpy as np

from mlops_runtime.drift.protocol import Feature, FloatArray, Parameters, Scalar

LARGEST_TEXT: Final = 100_000
"""Characters that are looked at. The rest of a longer text is left out, so that one record can't hold up the others."""
LARGEST_IMAGE: Final = 50_000_000
"""Pixels. A compressed image that claims more is refused before it is unpacked."""


class Preprocessing(ABC):
    """Makes one row of `features` of each item of a record."""

    name: ClassVar[str]
    defaults: ClassVar[Mapping[str, Scalar]]

    def __init__(self, parameters: Parameters) -> None:
        unknown = sorted(set(parameters) - set(self.defaults))
        if unknown:
            raise ValueError(f"{self.name}: no parameter {unknown[0]!r}; there are {', '.join(sorted(self.defaults))}")
        self.parameters: dict[str, Scalar] = {**self.defaults, **parameters}

    @property
    @abstractmethod
    def width(self) -> int: ...

    @property
    def features(self) -> tuple[Feature, ...]:
        return tuple(Feature(f"e{at}") for at in range(self.width))

    @abstractmethod
    def rows(self, record: Mapping[str, Any]) -> FloatArray:
        """Of a prediction record, shape (items, width). Raises `ValueError` where it has nothing that this can read."""

    def to_manifest(self) -> dict[str, Any]:
        return {"name": self.name, "parameters": dict(self.parameters)}

    def integer(self, name: str, minimum: int, maximum: int) -> int:
        value = self.parameters[name]
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError(
                f"{self.name}: {name} is {value!r}; it has to be a whole number from {minimum} to {maximum}"
            )
        return value


class EmbeddingFromRecord(Preprocessing):
    """The record's own `embedding`: one row of `width` numbers for each row of the request."""

    name = "embedding_from_record"
    defaults = {"width": 0}

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._width = self.integer("width", 1, 100_000)

    @property
    def width(self) -> int:
        return self._width

    def rows(self, record: Mapping[str, Any]) -> FloatArray:
        given = record.get("embedding")
        if given is None:
            raise ValueError("the record has no embedding")
        rows = numeric(given, "embedding")
        if rows.ndim == 1:
            rows = rows[None, :]
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise ValueError(f"embedding has shape {list(rows.shape)}; rows of {self._width} numbers were trained on")
        return rows


class HashedText(Preprocessing):
    """Texts by their character n-grams, each hashed to a random direction of `width` dimensions; rows have length 1.

    The signed sum over the n-grams is a random projection of their counts (Achlioptas 2003; Weinberger et al. 2009),
    which keeps distances. It knows spelling, topic and language by their letters, and no meaning.
    """

    name = "hashed_text"
    defaults = {"width": 32, "shortest": 2, "longest": 4, "lower": True}

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._width = self.integer("width", 2, 512)
        self._shortest = self.integer("shortest", 1, 8)
        self._longest = self.integer("longest", self._shortest, 8)
        self._lower = bool(self.parameters["lower"])
        self._digests: dict[str, bytes] = {}

    @property
    def width(self) -> int:
        return self._width

    def rows(self, record: Mapping[str, Any]) -> FloatArray:
        texts = texts_of(payload(record))
        return np.array([self.row(text) for text in texts]).reshape(len(texts), self._width)

    def row(self, text: str) -> FloatArray:
        text = text[:LARGEST_TEXT]
        if self._lower:
            text = text.lower()
        counts: dict[str, int] = {}
        for size in range(self._shortest, self._longest + 1):
            for at in range(len(text) - size + 1):
                gram = text[at : at + size]
                counts[gram] = counts.get(gram, 0) + 1
        if not counts:
            return np.zeros(self._width)
        digests = np.frombuffer(b"".join(map(self._digest, counts)), dtype=np.uint8).reshape(len(counts), -1)
        directions = np.unpackbits(digests, axis=1)[:, : self._width].astype(np.float64) * 2 - 1
        # Logarithmic counts: a phrase that is repeated all over doesn't drown the rest.
        total = np.log1p(np.fromiter(counts.values(), dtype=np.float64)) @ directions
        length = float(np.linalg.norm(total))
        return total / length if length > 0 else total

    def _digest(self, gram: str) -> bytes:
        known = self._digests.get(gram)
        if known is None:
            size = (self._width + 7) // 8
            known = hashlib.blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=size).digest()
            # Bounded: a stream of random strings mustn't fill the memory.
            if len(self._digests) >= 20_000:
                self._digests.clear()
            self._digests[gram] = known
        return known


class ImageThumbnail(Preprocessing):
    """Grey images of `size` by `size` cells, and the mean and spread of each channel; numbers from 0 to 1.

    Takes nested arrays, shape (height, width) or (height, width, channels) or a list of them; raw bytes in base64 with
    `height` and `width` given here; or a compressed image (PNG, JPEG, ...) in base64 where Pillow is there.
    """

    name = "image_thumbnail"
    defaults = {"size": 8, "channels": 3, "height": 0, "width": 0, "maximum": 255.0}

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._size = self.integer("size", 2, 64)
        self._channels = self.integer("channels", 1, 4)
        self._raw = (self.integer("height", 0, 100_000), self.integer("width", 0, 100_000))
        maximum = self.parameters["maximum"]
        if isinstance(maximum, bool | str) or maximum <= 0:
            raise ValueError(f"{self.name}: maximum is {maximum!r}; it has to be above 0")
        self._maximum = float(maximum)

    @property
    def width(self) -> int:
        return self._size**2 + 2 * self._channels

    def rows(self, record: Mapping[str, Any]) -> FloatArray:
        images = self._images(payload(record))
        return np.array([self.row(image) for image in images]).reshape(len(images), self.width)

    def row(self, image: FloatArray) -> FloatArray:
        """Of an image, shape (height, width, channels), values from 0 to `maximum`."""
        if image.shape[2] != self._channels:
            raise ValueError(f"an image of {image.shape[2]} channels; {self._channels} were trained on")
        scaled = image / self._maximum
        grey = scaled.mean(axis=2)
        cells = means(means(grey, self._size).T, self._size).T
        return np.concatenate([cells.ravel(), scaled.mean(axis=(0, 1)), scaled.std(axis=(0, 1))])

    def _images(self, given: Mapping[str, Any]) -> list[FloatArray]:
        data = given.get("data")
        kind = str(given.get("content_type", ""))
        if isinstance(data, str):
            return [self._decoded(data, kind)]
        if isinstance(data, list) and data and all(isinstance(item, str) for item in data):
            return [self._decoded(item, kind) for item in data]
        pixels = numeric(data, "payload's data")
        if pixels.ndim == 2:
            return [pixels[:, :, None]]
        if pixels.ndim == 3:
            # One image with its channels last, or grey images in a list.
            return [pixels] if pixels.shape[2] == self._channels else [image[:, :, None] for image in pixels]
        if pixels.ndim == 4:
            return list(pixels)
        raise ValueError(f"payload's data has shape {list(pixels.shape)}: no image")

    def _decoded(self, data: str, kind: str) -> FloatArray:
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("payload's data is text that isn't base64") from error
        height, width = self._raw
        if height and width and not kind.startswith("image/"):
            if len(raw) != height * width * self._channels:
                raise ValueError(f"an image of {len(raw)} bytes, not {height} x {width} x {self._channels}")
            return np.frombuffer(raw, dtype=np.uint8).reshape(height, width, self._channels).astype(np.float64)
        return unpacked(raw, self._channels)


STEPS: Final[Mapping[str, type[Preprocessing]]] = {
    step.name: step for step in (EmbeddingFromRecord, HashedText, ImageThumbnail)
}


def from_manifest(manifest: Mapping[str, Any]) -> Preprocessing:
    """The step that a manifest names: {"name": ..., "parameters": {...}}. Raises `ValueError` for another."""
    name = manifest.get("name")
    step = STEPS.get(name) if isinstance(name, str) else None
    if step is None:
        raise ValueError(f"no preprocessing step {name!r}; there are {', '.join(sorted(STEPS))}")
    return step(manifest.get("parameters") or {})


def payload(record: Mapping[str, Any]) -> Mapping[str, Any]:
    given = record.get("payload")
    if not isinstance(given, Mapping):
        raise ValueError("the record has no payload")
    if "data" not in given:
        raise ValueError("the payload isn't in the record: it has the address of an object alone")
    return given


def texts_of(given: Mapping[str, Any]) -> Sequence[str]:
    data = given["data"]
    texts = [data] if isinstance(data, str) else data
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("payload's data is neither a text nor a list of texts")
    return texts


def numeric(value: Any, what: str) -> FloatArray:
    try:
        found = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} isn't an array of numbers") from error
    if found.size == 0 or not np.isfinite(found).all():
        raise ValueError(f"{what} is empty or has values that are no numbers")
    return found


def means(rows: FloatArray, size: int) -> FloatArray:
    """Means over `size` bands of rows; an image smaller than that has its rows repeated."""
    edges = np.linspace(0, len(rows), size + 1)
    bands = [rows[int(start) : max(int(np.ceil(end)), int(start) + 1)].mean(axis=0) for start, end in pairwise(edges)]
    return np.array(bands)


def unpacked(raw: bytes, channels: int) -> FloatArray:
    try:
        from PIL import Image
    except ImportError as error:
        raise ValueError(
            "compressed images need Pillow, which this image of the service lacks: send pixels, or an embedding"
        ) from error
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    try:
        with Image.open(io.BytesIO(raw)) as image:
            if image.width * image.height > LARGEST_IMAGE:
                raise ValueError(f"an image of {image.width} x {image.height} pixels is too large")
            pixels = np.asarray(image.convert(mode), dtype=np.float64)
    except OSError as error:
        raise ValueError(f"payload's data is no image that can be read: {error}") from error
    return pixels.reshape(*pixels.shape[:2], channels)
