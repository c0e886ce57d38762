# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes bed's certificate authority, and kubeconfigs that hold client certificates."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def secret_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(content)


class Authority:
    """The one authority of a bed, kept in its directory: ``ca.crt``, ``ca.key``, and the service accounts' key pair."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        if not (directory / "ca.crt").exists():
            self._make()
        self.pem = (directory / "ca.crt").read_bytes()
        self._certificate = x509.load_pem_x509_certificate(self.pem)
        key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the test bed's Kubernetes")])
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        )
        certificate = (
            _builder(name, name, key.public_key(), 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, decipher_only=False, **usage),
                critical=True,
            )
            .sign(key, hashes.SHA256())
        )
        accounts = ec.generate_private_key(ec.SECP256R1())
        public = accounts.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        secret_file(self.directory / "ca.key", _key_pem(key))
        secret_file(self.directory / "accounts.key", _key_pem(accounts))
        secret_file(self.directory / "accounts.pub", public)
        secret_file(self.directory / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, groups: Iterable[str] = (), hosts: Iterable[str] = (), valid: datetime.timedelta = 365 * DAY
    ) -> tuple[bytes, bytes]:
        """Certificate and key (PEM). With ``hosts`` it serves too; a negative ``valid`` ended that long ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _builder(subject, self._certificate.subject, key.public_key(), valid).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        if alternatives := [_alternative(host) for host in hosts]:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)

    def kubeconfig(
        self,
        server: str,
        context: str,
        user: str,
        groups: Iterable[str] = (),
        valid: datetime.timedelta = 365 * DAY,
    ) -> dict[str, Any]:
        certificate, key = self.issue(user, groups, valid=valid)
        cluster = {"server": server, "certificate-authority-data": _base64(self.pem)}
        credentials = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
            "current-context": context,
        }


def as_file(kubeconfig: dict[str, Any]) -> bytes:
    # JSON is YAML.
    return json.dumps(kubeconfig, indent=2).encode() + b"\n"


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid: datetime.timedelta
) -> x509.CertificateBuilder:
    # An hour back, for clocks that differ.
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    end = begin + datetime.timedelta(hours=1) + valid
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(begin, end - DAY))
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
