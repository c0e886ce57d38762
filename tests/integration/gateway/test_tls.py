# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The gateway with TLS: a certificate of our making, and one of the site's own."""

from __future__ import annotations

import datetime
import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from conftest import Gateway, Server, routed, running
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from test_gateway import METADATA, grpc_port, grpc_routed

__all__ = ["grpc_port"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Path]]:
    folder = tmp_path_factory.mktemp("made")
    folder.chmod(0o755)
    with running(folder, gateway_tls=True, mlops_domain="ml.test") as gateway:
        gateway.route()
        yield gateway, folder / "tls" / "ca.pem"


def peer(gateway: Gateway, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    import socket

    return context.wrap_socket(socket.create_connection(("127.0.0.1", gateway.https), timeout=5), server_hostname=host)


def test_a_certificate_is_made_for_the_domain_and_all_below_it(made: tuple[Gateway, Path], server: Server) -> None:
    gateway, ca = made
    gateway.route(routed(server.port))
    for host in ("ml.test", "echo.ml.test", "mlflow.ml.test"):
        with peer(gateway, ssl.create_default_context(cafile=str(ca)), host) as connection:
            assert connection.version() in ("TLSv1.2", "TLSv1.3")
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    with peer(gateway, context, "echo.ml.test") as connection:
        assert connection.selected_alpn_protocol() == "h2"


def test_http_only_redirects(made: tuple[Gateway, Path], server: Server) -> None:
    gateway, _ = made
    gateway.route(routed(server.port))
    connection = http.client.HTTPConnection("127.0.0.1", gateway.http, timeout=5)
    connection.request("GET", "/x?y=1", headers={"Host": "echo.localhost"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://echo.localhost:{gateway.https}/x?y=1")


def test_grpc_over_tls(made: tuple[Gateway, Path], grpc_port: int) -> None:
    gateway, ca = made
    gateway.route(grpc_routed(grpc_port))
    options = [("grpc.ssl_target_name_override", "ml.test")]
    credentials = grpc.ssl_channel_credentials(ca.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{gateway.https}", credentials, options=options) as channel:
        predict = channel.unary_unary("/seldon.protos.Seldon/Predict")
        assert predict(b"hello", metadata=METADATA, timeout=5) == b"hello"


def test_the_sites_own_certificate_is_used(tmp_path: Path, server: Server) -> None:
    tmp_path.chmod(0o755)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the site's own")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("*.ml.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "own.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "own.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with running(
        tmp_path,
        gateway_tls=True,
        mlops_domain="ml.test",
        gateway_certificate_file="own.pem",
        gateway_private_key_file=str(tmp_path / "own.key"),
    ) as gateway:
        gateway.route(routed(server.port))
        context = ssl.create_default_context(cafile=str(tmp_path / "own.pem"))
        with peer(gateway, context, "mlflow.ml.test") as connection:
            assert connection.getpeercert(binary_form=True) == certificate.public_bytes(serialization.Encoding.DER)
