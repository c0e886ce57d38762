# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's own database and object store, asked before anything relies on them. The standard library alone: this runs
on a host that has nothing of the platform yet."""
