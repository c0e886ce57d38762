# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of the site: recipes and their keys, builds, and the registry that holds the results."""
