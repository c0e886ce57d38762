# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A host that is nothing but files."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

RELEASE = "6.1.0-test"


@dataclass
class FakeHost:
    root: Path
    release: str = RELEASE

    def write(self, path: str, text: str = "") -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def config(self, **options: str) -> None:
        lines = [
            f"CONFIG_{name}={value}" if value else f"# CONFIG_{name} is not set" for name, value in options.items()
        ]
        file = self.root / "proc/config.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress("\n".join(lines).encode()))

    def modules(self, *names: str, builtin: tuple[str, ...] = ()) -> None:
        place = f"lib/modules/{self.release}"
        self.write(f"{place}/modules.dep", "".join(f"kernel/net/{name}.ko.xz: kernel/x.ko\n" for name in names))
        self.write(f"{place}/modules.builtin", "".join(f"kernel/net/{name}.ko\n" for name in builtin))
