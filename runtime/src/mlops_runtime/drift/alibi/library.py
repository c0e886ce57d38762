# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The library itself, imported when one of its detectors is wanted, and chance made repeatable around its calls."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

VERSION: Final = "0.11.4"


def load(module: str, kind: str) -> Any:
    """A module of alibi_detect. Raises `ValueError` where the library, or what it needs, isn't installed."""
    # It looks for models on the network and for a home to keep them in unless it is told not to.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            library = importlib.import_module("alibi_detect.version")
            found = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"{kind} needs Alibi Detect {VERSION} with PyTorch, which isn't installed here ({error}): "
            "drift_detector_alibi: true has the service run in an image with it"
        ) from error
    if library.__version__ != VERSION:
        raise ValueError(f"{kind} needs Alibi Detect {VERSION}; {library.__version__} is installed")
    logging.getLogger("alibi_detect").setLevel(logging.ERROR)
    return found


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The same chance each time inside, in numpy and in PyTorch, and whoever is outside keeps theirs."""
    before = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        torch = None
    try:
        if torch is None:
            yield
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                yield
    finally:
        np.random.set_state(before)
