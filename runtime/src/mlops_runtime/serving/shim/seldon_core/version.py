# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The version whose names these are."""

__version__ = "1.17.1"
