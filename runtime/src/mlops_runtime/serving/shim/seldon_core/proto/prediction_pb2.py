# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Seldon's messages, under the path that classes import them by."""

from mlops_runtime.serving.proto import prediction_pb2 as _messages

globals().update({name: value for name, value in vars(_messages).items() if not name.startswith("_")})
