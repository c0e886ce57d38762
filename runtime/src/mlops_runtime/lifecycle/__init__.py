# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle controller: alerts become retraining runs, exactly one for each episode, and the ledger says why."""
