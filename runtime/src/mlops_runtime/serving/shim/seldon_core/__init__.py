# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What classes written for Seldon's wrapper import from seldon_core, where that isn't installed."""

from seldon_core.storage import Storage
from seldon_core.version import __version__

__all__ = ["Storage", "__version__"]
