# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A small scikit-learn model, fitted on the spot from the data that scikit-learn ships."""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class Logistic:
    def __init__(self):
        X, y = load_breast_cancer(return_X_y=True)
        self.model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)

    def predict(self, X, names, meta=None):
        return self.model.predict_proba(np.asarray(X, dtype=float))
