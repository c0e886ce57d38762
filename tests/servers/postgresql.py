# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL on this machine's loopback address, from the Debian package that the image is built of.

    with Postgresql.started(tmp_path) as postgresql:
        postgresql.make("prefect", "a-password")      # a user and a database of that name
        postgresql.stop(); postgresql.start()         # the same data, the same address

It runs as a user of no rights, since it refuses to run as root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from process import free_port, stop

ADMIN, PASSWORD = "postgres", "an-admin-password"
NOBODY = 65534


def programs() -> Path | None:
    """Where the package's programs are, the newest version's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


class Postgresql:
    """One server."""

    def __init__(self, directory: Path, log: Path) -> None:
        where = programs()
        assert where is not None, "PostgreSQL is not installed here"
        self._bin = where
        self.directory = directory
        self.port = free_port()
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextlib.contextmanager
    def started(cls, log: Path) -> Iterator[Postgresql]:
        """Returns when it answers. What it says goes to ``log``, its data to a directory that is removed."""
        directory = Path(tempfile.mkdtemp(prefix="mlops-postgresql-"))
        try:
            server = cls(directory, log)
            server._initialise()
            try:
                server.start()
                yield server
            finally:
                if server.process is not None:
                    stop(server.process)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _initialise(self) -> None:
        password = self.directory / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.directory, password):
                os.chown(path, NOBODY, NOBODY)
        command = ["initdb", "--pgdata", str(self.directory / "data"), "--username", ADMIN, "--auth", "scram-sha-256"]
        command += ["--pwfile", str(password), "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        subprocess.run(self._command(*command), check=True, capture_output=True, cwd=self.directory)

    def start(self, timeout: float = 120) -> None:
        """Returns when it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "max_connections": "80",
            "fsync": "off",
        }
        command = ["postgres", "-D", str(self.directory / "data")]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command(*command), stdout=output, stderr=output, cwd=self.directory, start_new_session=True
            )
        deadline = time.monotonic() + timeout
        ready = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            told = self._log.read_text(errors="replace")[-2000:]
            assert self.process.poll() is None and time.monotonic() < deadline, f"PostgreSQL doesn't answer:\n{told}"
            time.sleep(0.2)

    def stop(self) -> None:
        """Whoever is connected is thrown out."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
            self.process = None

    def _command(self, name: str, *arguments: str) -> list[str]:
        as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return [*(as_nobody if os.geteuid() == 0 else []), str(self._bin / name), *arguments]

    def query(self, sql: str, database: str = "postgres", user: str = ADMIN, password: str = PASSWORD) -> str:
        """Rows as lines, columns with `|` between them."""
        command = [self._bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        command += ["-p", str(self.port), "-U", user, "-d", database, "-c", sql]
        done = subprocess.run(
            command, env={**os.environ, "PGPASSWORD": password}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def make(self, name: str, password: str) -> None:
        """A user with a database of that name, with the rights that roles/postgresql gives an owner."""
        self.query(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        self.query(f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0 ENCODING 'UTF8'")
        self.query(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
