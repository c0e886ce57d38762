# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of this package."""

from __future__ import annotations


class ImagesError(Exception):
    """Something that the user has to know, said in full; modules turn it into fail_json."""
