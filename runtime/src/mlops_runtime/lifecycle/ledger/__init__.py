# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the controller remembers, in PostgreSQL: models, episodes, decisions, runs, stage times, refusals.

All times are the database's, so that replicas with other clocks agree.
"""
