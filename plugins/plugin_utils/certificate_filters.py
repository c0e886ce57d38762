# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that look at a certificate before it is used, and at what of it others may see."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False


_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def certificate_of(pem: str) -> str:
    """The certificates of a PEM text, without the key: what clients trust, and anyone may see."""
    return "".join(f"{found}\n" for found in _CERTIFICATE.findall(pem))


def certificate_problems(certificate_file: str, key_file: str, host: str = "") -> list[str]:
    """What is wrong with a certificate and its key (PEM files on the control host), in words; nothing if they'll do."""
    texts: list[bytes] = []
    for path in (certificate_file, key_file):
        try:
            texts.append(Path(path).expanduser().read_bytes())
        except OSError as error:
            return [f"{path} can't be read: {error.strerror}"]
    if not HAS_CRYPTOGRAPHY:
        return []
    try:
        certificate = x509.load_pem_x509_certificate(texts[0])
    except ValueError:
        return [f"{certificate_file} is not a certificate in PEM"]
    try:
        key = serialization.load_pem_private_key(texts[1], None)
    except TypeError:
        return [f"{key_file} is encrypted: give the key without a pass phrase, in a vaulted or otherwise guarded file"]
    except ValueError:
        return [f"{key_file} is not a private key in PEM"]
    problems = []
    if _public(key.public_key()) != _public(certificate.public_key()):
        problems.append(f"{key_file} is not the key of {certificate_file}")
    end = certificate.not_valid_after_utc
    if end < datetime.now(timezone.utc):  # noqa: UP017 (datetime.UTC would do, but sanity tests older Pythons)
        problems.append(f"{certificate_file} was valid until {end:%Y-%m-%d}")
    names = _names(certificate)
    if host and names and not any(_covers(name, host) for name in names):
        problems.append(f"{certificate_file} is for {', '.join(names)}, not for {host}")
    return problems


def _public(key: Any) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_bytes(encoding, form))


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name) for name in extension.value.get_values_for_type(x509.DNSName)]


def _covers(name: str, host: str) -> bool:
    if name.startswith("*."):
        # Clients take no wildcard below a domain of one label.
        return "." in name[2:] and host.partition(".")[2].lower() == name[2:].lower()
    return name.lower() == host.lower()
