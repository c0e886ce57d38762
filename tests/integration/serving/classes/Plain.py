# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""No base class, no meta: the least that Seldon's wrapper takes."""


class Plain:
    def predict(self, X, names):
        return X
