# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The job that makes the ledger's database and its users, run as a process of this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from postgresql import ADMIN, PASSWORD, Postgresql, programs

ROOT = Path(__file__).resolve().parents[3]
LEDGER, READER = "ledger-password", "reader-password"


class Job:
    """The job of roles/postgresql that makes the ledger's database and users."""

    def __init__(self, folder: Path, server: Postgresql) -> None:
        self.folder = folder
        (folder / "secrets").mkdir()
        secrets = {
            "postgresql_admin_password": PASSWORD,
            "lifecycle_db_password": LEDGER,
            "grafana_ledger_password": READER,
        }
        for name, value in secrets.items():
            (folder / "secrets" / name).write_text(value)
        for path in (ROOT / "roles/postgresql/files").iterdir():
            # Its secrets lie elsewhere here, and nothing else differs.
            (folder / path.name).write_text(path.read_text().replace("/run/secrets", str(folder / "secrets")))
        self.environment = {
            **os.environ,
            "PATH": f"{programs()}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGDATABASE": "postgres",
            "MLOPS_DATABASE_ADMIN": ADMIN,
            "MLOPS_DATABASE_MARK": "mlops.onprem (mlops)",
            "MLOPS_DATABASES": "lifecycle lifecycle lifecycle_db_password owner\n"
            "lifecycle grafana_ledger grafana_ledger_password reader",
        }

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(self.folder / "databases.sh")],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
