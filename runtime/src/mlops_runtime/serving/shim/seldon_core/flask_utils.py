# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The exception that a class tells clients with."""

from mlops_runtime.serving.component import SeldonMicroserviceException

__all__ = ["SeldonMicroserviceException"]
