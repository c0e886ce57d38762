# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MLflow over its REST API: client (calls), comparison (pure), registration, service and users (what modules do)."""
