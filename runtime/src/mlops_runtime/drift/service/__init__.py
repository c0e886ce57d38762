# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The drift detector: the prediction streams of many models in, metrics out, exactly once whatever happens."""
