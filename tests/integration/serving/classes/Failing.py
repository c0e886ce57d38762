# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Fails in every way."""

from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.user_model import SeldonComponent


class Failing(SeldonComponent):
    def predict(self, X, names, meta=None):
        if X == "seldon":
            raise SeldonMicroserviceException("not like this", status_code=409, reason="MY_REASON")
        if X == "bad":
            raise SeldonMicroserviceException("just bad")
        if X == "type":
            raise TypeError("a type error inside")
        return X.nothing

    def route(self, X, names):
        return "left"
