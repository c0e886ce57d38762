# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Kinds by name, imported when they are wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mlops_runtime.drift import registry

SOURCE = Path(__file__).resolve().parents[3] / "runtime" / "src"


def test_a_known_kind() -> None:
    assert registry.detector_class("cusum").kind == "cusum"


def test_an_unknown_kind_is_named_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"no detector 'magic'; known are ewma, rff, ks") as error:
        registry.detector_class("magic")
    assert "alibi:<name>" in str(error.value)


def test_a_library_that_is_not_here_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.KINDS, "odd", "no_such_library.detectors:Odd")
    with pytest.raises(ValueError, match="'odd' can't be used here: No module named 'no_such_library'"):
        registry.detector_class("odd")


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, mlops_runtime.drift.registry, mlops_runtime.drift.artefact, mlops_runtime.drift.stream;"
        "print([name for name in ('scipy', 'sklearn', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    environment = {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
