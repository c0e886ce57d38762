# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Answers its own exceptions by a Flask blueprint."""

from flask import Blueprint, jsonify
from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.user_model import SeldonComponent


class OwnError(Exception):
    def __init__(self, message, status):
        super().__init__(message)
        self.message, self.status = message, status


class FlaskErrors(SeldonComponent):
    model_error_handler = Blueprint("error_handlers", __name__)

    @model_error_handler.app_errorhandler(OwnError)
    def handle(error):
        response = jsonify({"own": error.message})
        response.status_code = error.status
        return response

    def predict(self, X, names, meta=None):
        if X == "own":
            raise OwnError("my own words", 422)
        if X == "seldon":
            raise SeldonMicroserviceException("not like this", status_code=409, reason="MY_REASON")
        raise ValueError(X)
