# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host looked at before anything is touched: plain reading of /proc, /sys and /etc. The standard library alone."""
