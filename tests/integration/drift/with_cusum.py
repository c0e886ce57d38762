# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The service as it is, with the tests' own detector known by the kind `cusum`."""

from __future__ import annotations

import faulthandler
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "runtime" / "src"), str(ROOT / "tests" / "unit" / "drift")]

from mlops_runtime.drift import registry  # noqa: E402 it is found by the line above
from mlops_runtime.drift.service.__main__ import main  # noqa: E402

registry.KINDS["cusum"] = "cusum:Cusum"

if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)  # Where it stands, into its log.
    sys.exit(main())
