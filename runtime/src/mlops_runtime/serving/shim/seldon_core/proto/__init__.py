# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Seldon's messages."""

from mlops_runtime.serving.proto import prediction_pb2

__all__ = ["prediction_pb2"]
