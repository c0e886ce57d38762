# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Derives and defines nothing: the base class's defaults."""

from seldon_core.user_model import SeldonComponent


class Nothing(SeldonComponent):
    def init_metadata(self):
        return {"versions": "not a list"}
