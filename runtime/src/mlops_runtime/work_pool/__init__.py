# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Prefect's work pool of type mlops-agent: each run is a job of the cluster, started by the platform's agent."""
