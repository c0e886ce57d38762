# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's Docker engine: its API, its options, its process. The standard library alone: a blank host has no more."""
