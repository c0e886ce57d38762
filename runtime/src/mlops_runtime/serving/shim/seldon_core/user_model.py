# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The base class of models and what its methods return and raise."""

from mlops_runtime.serving.component import SeldonComponent, SeldonNotImplementedError, SeldonResponse

__all__ = ["SeldonComponent", "SeldonNotImplementedError", "SeldonResponse"]
