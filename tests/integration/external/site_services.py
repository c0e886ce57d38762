# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a site has of its own: a PostgreSQL and an S3 server, both with TLS by the site's CA, beside the platform."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / ".collections"))

# ruff: noqa: E402 - found only now
from ansible_collections.mlops.onprem.plugins.module_utils._services.connection import ServiceError
from ansible_collections.mlops.onprem.plugins.module_utils._services.postgresql import Server, Session
from ansible_collections.mlops.onprem.plugins.module_utils._services.s3 import Endpoint, Keys

NAME = "t-ext"
DATABASE_PORT, STORE_PORT = 25432, 28333
ADMIN_PASSWORD = 'the site\'s "own" password, 1'
BUCKET = "site-mlflow"
KEYS = {
    "admin": Keys("ADMIN0ACCESS0KEY0000", "admin-secret-key-of-the-site-000"),
    "mlflow": Keys("MLFLOW0ACCESS0KEY000", "mlflow-secret-key-of-the-site-00"),
    "reader": Keys("READER0ACCESS0KEY000", "reader-secret-key-of-the-site-00"),
}


class Authority:
    """A CA and what it signs, as files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = (x509.BasicConstraints(ca=True, path_length=None), True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self._signed(self.name, self.key.public_key(), constraints))

    def issue(self, address: str, *, days: int = 2) -> tuple[Path, Path]:
        """Certificate and key of a server at that address."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        certificate, private = self.folder / f"server{days}.pem", self.folder / f"server{days}.key"
        certificate.write_bytes(self._signed(name, key.public_key(), (names, False), days))
        pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(key.private_bytes(pem, pkcs8, plain))
        private.chmod(0o644)  # the containers' user is another
        return certificate, private

    def _signed(self, name: x509.Name, key: Any, extension: tuple[Any, bool], days: int = 2) -> bytes:
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        builder = x509.CertificateBuilder(self.name, name, key, x509.random_serial_number())
        builder = builder.not_valid_before(end - datetime.timedelta(days=30)).not_valid_after(end)
        return (
            builder.add_extension(*extension).sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )


class Services:
    """The site's own services, in containers of this machine's engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = docker.from_env(timeout=120)
        bridge = self.client.networks.get("bridge").attrs["IPAM"]["Config"][0]
        # An engine that found its bridge there doesn't name the gateway, which is the first address then.
        first = str(next(ipaddress.ip_network(bridge["Subnet"]).hosts()))
        self.address = os.environ.get("MLOPS_TEST_ADDRESS") or bridge.get("Gateway") or first
        self.authority = Authority(folder, "site-ca")
        self.stranger = Authority(folder, "stranger-ca")
        self.containers: list[Any] = []

    # both

    def image(self, title: str) -> str | None:
        """The newest of the platform's images of that name; the services run from them too."""
        found = self.client.images.list(filters={"label": f"org.opencontainers.image.title={title}"})
        return max(found, key=lambda image: image.attrs["Created"]).id if found else None

    def start(self) -> None:
        self.stop()
        files = self.authority.issue(self.address)
        self._start_database(*files)
        self._start_store(*files)
        eventually(lambda: self.sql("SELECT 1") == "1", "the site's PostgreSQL")
        eventually(lambda: self.make_bucket(BUCKET) is None, "the site's S3 server")

    def stop(self) -> None:
        for container in self.client.containers.list(all=True, filters={"name": f"^{NAME}-site-"}):
            container.remove(force=True, v=True)

    def _run(self, name: str, image: str, command: list[str], port: tuple[int, int], **options: Any) -> Any:
        return self.client.containers.run(
            self.image(image),
            command,
            name=f"{NAME}-site-{name}",
            detach=True,
            ports={port[0]: (self.address, port[1])},
            **options,
        )

    def _mounted(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o644)
        return path

    # PostgreSQL

    @property
    def authority_text(self) -> str:
        return self.authority.path.read_text()

    def _start_database(self, certificate: Path, key: Path) -> None:
        password = self._mounted("admin-password", ADMIN_PASSWORD)
        volumes = {
            str(path): {"bind": f"/tls/{name}", "mode": "ro"} for name, path in (("crt", certificate), ("key", key))
        }
        volumes[str(password)] = {"bind": "/password", "mode": "ro"}
        environment = {
            "POSTGRES_PASSWORD_FILE": "/password",
            "POSTGRES_TLS_CERT_FILE": "/tls/crt",
            "POSTGRES_TLS_KEY_FILE": "/tls/key",
        }
        command = ["postgres", "-c", "fsync=off", "-c", "log_statement=all"]
        tmpfs = {"/var/lib/postgresql/data": "uid=10001,gid=10001,mode=0700"}
        self.database = self._run(
            "db", "postgresql", command, (5432, DATABASE_PORT), volumes=volumes, environment=environment, tmpfs=tmpfs
        )

    def sql(self, *statements: str, database: str = "postgres") -> str:
        """As the site's administrator, inside the container. Statements run one by one."""
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]
        command += ["-h", "/run/postgresql"]
        for statement in statements:
            command += ["-c", statement]
        status, output = self.database.exec_run(command)
        assert status == 0, output.decode()
        return str(output.decode().strip())

    def server(self, **changes: Any) -> Server:
        options = {"sslmode": "verify-full", "ca": self.authority_text, "timeout": 5.0} | changes
        host, port = options.pop("host", self.address), options.pop("port", DATABASE_PORT)
        return Server(host, port, **options)

    def login(self, user: str, password: str, database: str) -> Session:
        return self.server().login(user, password, database)

    # S3

    def _start_store(self, certificate: Path, key: Path) -> None:
        rights = {
            "admin": ["Admin", "Read", "Write", "List", "Tagging"],
            "mlflow": [f"{right}:{BUCKET}" for right in ("Read", "Write", "List", "Tagging")],
            "reader": [f"{right}:{BUCKET}" for right in ("Read", "List")],
        }
        identities = [
            {
                "name": name,
                "actions": rights[name],
                "credentials": [{"accessKey": keys.access, "secretKey": keys.secret}],
            }
            for name, keys in KEYS.items()
        ]
        config = self._mounted("identities.json", json.dumps({"identities": identities}))
        paths = {"/tls/crt": certificate, "/tls/key": key, "/identities.json": config}
        volumes = {str(path): {"bind": place, "mode": "ro"} for place, path in paths.items()}
        command = ["weed", "-logtostderr=true", "server", "-dir=/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += ["-master.telemetry=false", "-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"]
        command += ["-volume.max=0", "-master.volumeSizeLimitMB=64", "-s3", "-s3.port=8333", "-s3.ip.bind=0.0.0.0"]
        command += ["-s3.config=/identities.json", "-s3.cert.file=/tls/crt", "-s3.key.file=/tls/key"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"]
        self.store = self._run("s3", "seaweedfs", command, (8333, STORE_PORT), volumes=volumes)

    @property
    def endpoint_url(self) -> str:
        return f"https://{self.address}:{STORE_PORT}"

    def endpoint(self, **changes: Any) -> Endpoint:
        options = {"region": "us-east-1", "ca": self.authority_text, "path_style": True, "timeout": 5.0} | changes
        return Endpoint(options.pop("url", self.endpoint_url), **options)

    def make_bucket(self, name: str) -> None:
        self.endpoint().request("PUT", name, "", KEYS["admin"])

    def objects(self, bucket: str = BUCKET) -> bytes:
        return self.endpoint().request("GET", bucket, "", KEYS["admin"], query="list-type=2&max-keys=1000")


def eventually(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except (AssertionError, ServiceError, docker.errors.APIError) as error:
            last = error
        time.sleep(0.3)
    raise AssertionError(f"not within {seconds:.0f} s: {what} ({last})")
