# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Takes its time, to load and to predict, as its parameters say."""

import os
import time

from seldon_core.user_model import SeldonComponent


class Slow(SeldonComponent):
    def __init__(self, load_seconds=0.0, seconds=0.0, fail=False):
        super().__init__()
        self.load_seconds, self.seconds, self.fail = load_seconds, seconds, fail

    def load(self):
        time.sleep(self.load_seconds)
        if self.fail:
            raise AttributeError("this model can't be loaded")

    def predict(self, X, names, meta=None):
        time.sleep(self.seconds)
        return [[os.getpid()]]

    def metrics(self):
        return [{"type": "COUNTER", "key": "slow_calls", "value": 1}, {"type": "TIMER", "key": "slow_time", "value": 3}]
