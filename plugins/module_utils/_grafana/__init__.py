# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana over its HTTP APIs: client (calls), apis (what follows the provisioning API), one file a subject."""
