# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MLflow's registry over its REST API: client (calls), comparison (pure), registration and users (what the modules do)."""
