# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to a service, and in words why there is none."""

from __future__ import annotations

import errno
import socket
import ssl

# What OpenSSL calls these results of a verification.
NOT_YET_VALID, EXPIRED, OTHER_NAME, OTHER_ADDRESS = 9, 10, 62, 64


class ServiceError(Exception):
    """Why a service can't be used.

    :param about: what is to be looked at: ``host``, ``port``, ``tls``, ``ca``, or the service's own code of an error.
    """

    def __init__(self, about: str, message: str) -> None:
        super().__init__(message)
        self.about = about
        self.message = message


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """A TCP connection; every wait on it is bounded by ``timeout`` seconds."""
    try:
        return socket.create_connection((host, port), timeout)
    except socket.gaierror as error:
        raise ServiceError("host", f"the name {host} can't be resolved ({error.strerror})") from error
    except socket.timeout as error:  # noqa: UP041  an exception of its own before Python 3.10
        raise ServiceError("port", f"nothing answers at {address(host, port)} within {timeout:g} s") from error
    except OSError as error:
        refused = error.errno == errno.ECONNREFUSED
        reason = "the connection is refused" if refused else error.strerror or str(error)
        raise ServiceError("port", f"{address(host, port)} can't be reached: {reason}") from error


def secure(plain: socket.socket, host: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The connection with TLS; ``host`` is the name that the certificate must be for."""
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        if error.verify_code in (OTHER_NAME, OTHER_ADDRESS):
            raise ServiceError("host", f"the server's certificate isn't for {host}") from error
        if error.verify_code in (EXPIRED, NOT_YET_VALID):
            raise ServiceError("tls", f"the server's certificate is not valid now: {error.verify_message}") from error
        message = f"the server's certificate is signed by nobody in it ({error.verify_message})"
        raise ServiceError("ca", message) from error
    except (ssl.SSLError, OSError) as error:
        plain.close()
        reason = getattr(error, "reason", None) or str(error)
        raise ServiceError("tls", f"no TLS connection comes about: {reason}") from error


def tls_context(ca: str, *, verify: bool = True, check_name: bool = True) -> ssl.SSLContext:
    """:param ca: certificate authorities, PEM, to trust in the place of the system's; empty for those."""
    try:
        context = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise ServiceError("ca", "is no certificate in PEM") from error
    # The services' own clients (libpq, botocore) are not so strict about a site's own authority either.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.check_hostname = verify and check_name
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    return context


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
