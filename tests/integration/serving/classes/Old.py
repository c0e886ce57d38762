# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Names as an attribute, tags without a base class."""

import numpy as np


class Old:
    class_names = ["up", "down"]

    def predict(self, X, names, meta=None):
        return np.array([[0.25, 0.75]])

    def tags(self):
        return {"old": True}
