# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's side of SCRAM (RFC 5802, RFC 7677) without channel binding: with SHA-256 and no user name as PostgreSQL
speaks it, with SHA-512 and one as Kafka does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata

MECHANISM = "SCRAM-SHA-256"


class ScramError(Exception):
    """The server's side of the exchange is not right."""


class Scram:
    """One exchange: ``first``, then ``final`` with the server's first answer, then ``verify`` with its last."""

    def __init__(self, password: str, nonce: str | None = None, *, user: str = "", digest: str = "sha256") -> None:
        # RFC 4013 leaves ASCII alone; for the rest its normalisation is what matters.
        self._password = unicodedata.normalize("NFKC", password).encode()
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode()
        self._digest = digest
        self._bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={self._nonce}"
        self._server_signature = b""

    def first(self) -> str:
        return f"n,,{self._bare}"

    def final(self, challenge: str) -> str:
        given = _fields(challenge)
        try:
            nonce, salt, rounds = given["r"], base64.b64decode(given["s"]), int(given["i"])
        except (KeyError, ValueError) as error:
            raise ScramError(f"the server's challenge can't be read: {error}") from error
        if not nonce.startswith(self._nonce) or rounds < 1:
            raise ScramError("the server's challenge isn't an answer to this client")
        salted = hashlib.pbkdf2_hmac(self._digest, self._password, salt, rounds)
        client_key = self._mac(salted, b"Client Key")
        unsigned = f"c={base64.b64encode(b'n,,').decode()},r={nonce}"
        signed = f"{self._bare},{challenge},{unsigned}".encode()
        signature = self._mac(hashlib.new(self._digest, client_key).digest(), signed)
        proof = (int.from_bytes(client_key, "big") ^ int.from_bytes(signature, "big")).to_bytes(len(client_key), "big")
        self._server_signature = self._mac(self._mac(salted, b"Server Key"), signed)
        return f"{unsigned},p={base64.b64encode(proof).decode()}"

    def verify(self, outcome: str) -> None:
        """A server that doesn't know the password can't sign."""
        given = _fields(outcome).get("v", "")
        if not hmac.compare_digest(given, base64.b64encode(self._server_signature).decode()):
            raise ScramError("the server can't prove that it knows the password")

    def _mac(self, key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, self._digest).digest()


def _fields(message: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in message.split(",") if "=" in part)
