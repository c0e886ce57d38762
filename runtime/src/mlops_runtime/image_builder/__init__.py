# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Images for model versions whose lock has none: made of another one's layers, without an engine, without root."""
