# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Detectors that take one row at a time: `ewma` looks at each feature, `rff` at how they hang together. numpy only."""
