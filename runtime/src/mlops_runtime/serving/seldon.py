# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Seldon's names, from seldon_core itself where the model's environment has it, and else from here.

A user's class raises and returns objects of the package that it imports; they must be those that the server knows.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

_SHIM = Path(__file__).with_name("shim")


def seldon_core_is_installed() -> bool:
    spec = importlib.util.find_spec("seldon_core")
    return spec is not None and not (spec.origin or "").startswith(str(_SHIM))


def install_shim() -> None:
    """Make `import seldon_core` work for a model's class where the package isn't installed."""
    if not seldon_core_is_installed() and str(_SHIM) not in sys.path:
        sys.path.append(str(_SHIM))


if not TYPE_CHECKING and seldon_core_is_installed():
    from seldon_core.flask_utils import SeldonMicroserviceException
    from seldon_core.proto import prediction_pb2 as messages
    from seldon_core.user_model import SeldonComponent, SeldonNotImplementedError, SeldonResponse
else:
    from mlops_runtime.serving.component import (
        SeldonComponent,
        SeldonMicroserviceException,
        SeldonNotImplementedError,
        SeldonResponse,
    )
    from mlops_runtime.serving.proto import prediction_pb2 as messages

__all__ = [
    "SeldonComponent",
    "SeldonMicroserviceException",
    "SeldonNotImplementedError",
    "SeldonResponse",
    "install_shim",
    "messages",
    "seldon_core_is_installed",
]
