# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Exceptions as Seldon's status, and a class's own way of answering them."""

from __future__ import annotations

import logging
from typing import Any

from mlops_runtime.serving.seldon import SeldonMicroserviceException

log = logging.getLogger(__name__)


def status_of(error: BaseException) -> int:
    """HTTP's status: that of the exception where it is Seldon's, else 500."""
    if isinstance(error, SeldonMicroserviceException):
        return int(error.status_code)
    return 500


def error_body(error: BaseException) -> dict[str, Any]:
    if isinstance(error, SeldonMicroserviceException):
        return error.to_dict()
    internal = SeldonMicroserviceException(str(error), status_code=500, reason="MICROSERVICE_INTERNAL_ERROR")
    return internal.to_dict()


class ErrorHandler:
    """`model_error_handler` of a class: a Flask blueprint whose error handlers make the answers to its exceptions."""

    def __init__(self, blueprint: Any) -> None:
        from flask import Flask  # comes with the model's requirements, as the class has made a blueprint of it

        self._app = Flask("model_error_handler")
        self._app.register_blueprint(blueprint)

    @classmethod
    def of(cls, user: Any) -> ErrorHandler | None:
        blueprint = getattr(user, "model_error_handler", None)
        if blueprint is None:
            return None
        log.info("Registering the custom error handler...")
        return cls(blueprint)

    def answer(self, error: Exception, scope: dict[str, Any]) -> tuple[int, bytes] | None:
        """The blueprint's answer; None where it has none for this exception."""
        with self._app.test_request_context(scope["path"], method=scope["method"]):
            try:
                response = self._app.make_response(self._app.handle_user_exception(error))
            except Exception as raised:
                if raised is not error:
                    log.exception("The custom error handler failed")
                return None
            return response.status_code, response.get_data()
