# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Serving follows the registry: aliases become workloads, which the agent makes so."""
