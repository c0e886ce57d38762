# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's own CA and certificates below it, as files. Needs the Python package cryptography."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ._errors import InputError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    pass  # the module says what is missing

# Clocks of hosts differ.
_BACKDATED = datetime.timedelta(minutes=10)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, on disk."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Terms:
    """How long certificates are good for, and when they are made anew."""

    days: int
    ca_days: int
    renew_before_days: int


@dataclass
class Made:
    """*why*: what was made, and for which reason; empty where all was good."""

    why: list[str]
    ca: str
    certificate: str
    not_after: datetime.datetime | None


def ensure(
    ca: Pair,
    leaf: Pair | None,
    names: Sequence[str],
    terms: Terms,
    *,
    organisation: str,
    now: datetime.datetime,
    check: bool,
) -> Made:
    """Makes what is missing, about to expire, or doesn't fit.

    A CA that is renewed keeps its key, so that certificates below it stay good where the old one is still trusted.

    :raises InputError: where a file is there but can't be used.
    """
    subject_names = _names(names) if leaf is not None else []
    why: list[str] = []
    ca_key = _load_key(ca.key)
    ca_certificate = _load_certificate(ca.certificate)
    if ca_certificate is not None and ca_key is None:
        raise InputError(
            f"ca_key: {ca.key} is missing, but {ca.certificate} is there: "
            "bring the key, or name certificates of your own"
        )
    if ca_key is None:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        if not check:
            _write(ca.key, _key_pem(ca_key), 0o600)
    reason = _ca_reason(ca_certificate, ca_key, now, terms)
    if reason:
        why.append(f"CA: {reason}")
        ca_certificate = _make_ca(ca_key, organisation, now, terms)
        if not check:
            _write(ca.certificate, _pem(ca_certificate), 0o644)
    if ca_certificate is None:
        raise AssertionError("ca_certificate")
    made = Made(why, _pem(ca_certificate), "", None)
    if leaf is None:
        return made
    key = _load_key(leaf.key)
    certificate = _load_certificate(leaf.certificate)
    reason = _leaf_reason(certificate, key, ca_certificate, subject_names, now, terms)
    if reason or certificate is None:
        why.append(f"certificate: {reason}")
        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate = _make_leaf(key, ca_key, ca_certificate, subject_names, names, now, terms)
        if not check:
            _write(leaf.key, _key_pem(key), 0o600)
            _write(leaf.certificate, _pem(certificate) + _pem(ca_certificate), 0o644)
    made.certificate = _pem(certificate) + _pem(ca_certificate)
    made.not_after = certificate.not_valid_after_utc
    return made


def _names(names: Sequence[str]) -> list[x509.GeneralName]:
    if not names:
        raise InputError("names: at least one DNS name or address is needed")
    result: list[x509.GeneralName] = []
    for name in names:
        try:
            result.append(x509.IPAddress(ipaddress.ip_address(name)))
            continue
        except ValueError:
            pass
        try:
            result.append(x509.DNSName(name.encode("idna").decode() if not name.isascii() else name))
        except (ValueError, UnicodeError) as error:
            raise InputError(f"names: {name!r} is neither a DNS name nor an address: {error}") from error
    return result


def _ca_reason(
    certificate: x509.Certificate | None, key: ec.EllipticCurvePrivateKey, now: datetime.datetime, terms: Terms
) -> str:
    if certificate is None:
        return "it isn't there"
    if certificate.public_key() != key.public_key():
        raise InputError("ca_certificate and ca_key don't belong together")
    # A leaf must not outlive its CA.
    if certificate.not_valid_after_utc < now + datetime.timedelta(days=terms.days):
        return f"it ends at {certificate.not_valid_after_utc:%Y-%m-%d}"
    return ""


def _leaf_reason(
    certificate: x509.Certificate | None,
    key: ec.EllipticCurvePrivateKey | None,
    ca: x509.Certificate,
    names: Sequence[x509.GeneralName],
    now: datetime.datetime,
    terms: Terms,
) -> str:
    if certificate is None or key is None:
        return "it isn't there"
    if certificate.public_key() != key.public_key():
        return "it isn't the key's"
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return "it is another CA's"
    if certificate.not_valid_after_utc < now + datetime.timedelta(days=terms.renew_before_days):
        return f"it ends at {certificate.not_valid_after_utc:%Y-%m-%d}"
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "it has no names"
    if {str(name) for name in found} != {str(name) for name in names}:
        return "it is for other names"
    return ""


def _make_ca(
    key: ec.EllipticCurvePrivateKey, organisation: str, now: datetime.datetime, terms: Terms
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{organisation} CA")])
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=terms.ca_days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_leaf(
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    names: Sequence[x509.GeneralName],
    texts: Sequence[str],
    now: datetime.datetime,
    terms: Terms,
) -> x509.Certificate:
    # A common name holds 64 characters; what counts are the alternative names.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, texts[0][:64])])
    return (
        x509.CertificateBuilder(ca.subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(min(now + datetime.timedelta(days=terms.days), ca.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _load_certificate(path: Path) -> x509.Certificate | None:
    """The first certificate of a file; None where there is no file."""
    if not path.is_file():
        return None
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} isn't a certificate in PEM form: {error}") from error


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    if not path.is_file():
        return None
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} isn't a private key in PEM form without a pass phrase: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputError(f"{path} isn't an elliptic-curve key, as this module makes them")
    return key


def _write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all; a key is never readable by others, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as stream:
        stream.write(text)
    draft.replace(path)
