# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The only holder of the cluster's socket: takes workload sets, says what runs where, tells the gateway its routes."""
