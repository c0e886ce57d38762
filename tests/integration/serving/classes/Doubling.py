# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Everything a class may define, the plain way."""

import numpy as np
from seldon_core.metrics import create_counter, create_gauge, create_timer
from seldon_core.user_model import SeldonComponent


class Doubling(SeldonComponent):
    def __init__(self, factor=2, label="none", exact=False, share=0.5):
        super().__init__()
        self.factor, self.label, self.exact, self.share = factor, label, exact, share
        self.loaded = False
        self.feedback = []

    def load(self):
        self.loaded = True

    def predict(self, X, names, meta=None):
        if not self.loaded:
            raise RuntimeError("not loaded")
        return np.asarray(X) * self.factor

    def tags(self):
        return {"label": self.label, "exact": self.exact, "share": self.share, "deep": {"list": [1, "a", None]}}

    def metrics(self):
        return [
            create_counter("calls", 1),
            create_gauge("depth", 7.5),
            create_timer("spent", 20.2),
            {"type": "COUNTER", "key": "tagged", "value": 2, "tags": {"kind": "x"}},
        ]

    def class_names(self):
        return ["first", "second"]

    def feature_names(self):
        return ["a", "b"]

    def send_feedback(self, features, feature_names, reward, truth, routing=None):
        self.feedback.append(reward)
        return [[float(reward), float(np.sum(features)), float(np.sum(truth)), -1 if routing is None else routing]]

    def transform_input(self, X, names, meta=None):
        return np.asarray(X) + 1

    def transform_output(self, X, names):
        return [list(row)[::-1] for row in X]

    def route(self, X, names):
        return 1

    def aggregate(self, features_list, names_list):
        return np.sum(features_list, axis=0)

    def health_status(self):
        return [1, 2, 3]

    def init_metadata(self):
        return {
            "name": "doubling",
            "versions": ["v1", "v2"],
            "platform": "numpy",
            "inputs": [{"messagetype": "ndarray", "schema": {"names": ["a", "b"], "shape": [-1, 2]}}],
            "outputs": [{"name": "out", "datatype": "FP64", "shape": [-1, 2]}],
            "custom": {"team": "x"},
        }
