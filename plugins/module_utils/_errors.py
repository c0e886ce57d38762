# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module can fail with: bad input, or a request that a server didn't answer as it should."""

from __future__ import annotations


class InputError(Exception):
    """Something the user gave can't be used. The message names the option and says what to set."""


class RequestError(Exception):
    """A request failed.

    :param method: the HTTP method.
    :param address: the full address, without credentials.
    :param message: the server's own message, or the system's where no server answered.
    :param status: the HTTP status, None where no complete answer came.
    :param code: the server's machine-readable error code, such as ``RESOURCE_DOES_NOT_EXIST``.
    :param hint: what the user can do about it.
    :param unreachable: nothing that could have understood the request answered.
    """

    def __init__(
        self,
        method: str,
        address: str,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        hint: str = "",
        unreachable: bool = False,
    ) -> None:
        super().__init__(message)
        self.method = method
        self.address = address
        self.message = message
        self.status = status
        self.code = code
        self.hint = hint
        self.unreachable = unreachable

    def __str__(self) -> str:
        answer = f"HTTP {self.status}: {self.message}" if self.status is not None else self.message
        text = f"{self.method} {self.address}: {answer}"
        return f"{text.rstrip('.')}. {self.hint}" if self.hint else text

    def facts(self) -> dict[str, object]:
        """The error's parts, for a module's result."""
        return {
            "method": self.method,
            "address": self.address,
            "status": self.status,
            "message": self.message,
            "code": self.code,
            "hint": self.hint,
        }
