# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A model that does nothing: what is measured is the server."""


class Nothing:
    def predict(self, X, names, meta=None):
        return X
