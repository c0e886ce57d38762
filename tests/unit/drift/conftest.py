# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The runtime's source on the path, this folder's helpers, and a detector that is known by the kind `cusum`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2] / "runtime" / "src"), str(HERE)]

importlib.import_module("mlops_runtime.drift.registry").KINDS["cusum"] = "cusum:Cusum"
