# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prefect over its REST API: client (calls), comparison and schedules (pure), one file for what each module does."""
