# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs ansible-lint, profile production, on a copy: it would follow the checkout's link to itself for ever."""

from __future__ import annotations

import os
import subprocess
import sys

from collection import copy

LINTED = (
    ".ansible-lint",
    ".gitignore",
    "examples/",
    "CHANGELOG.md",
    "galaxy.yml",
    "inventories/",
    "meta/",
    "molecule/",
    "playbooks/",
    "plugins/",
    "README.md",
    "roles/",
    "site.yml",
)


def main() -> int:
    made = copy("ansible-lint", *LINTED)
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(made.parents[2])}
    environment.pop("ANSIBLE_CONFIG", None)
    command = ["ansible-lint", "--offline", "--profile", "production", "--nocolor", *sys.argv[1:]]
    return subprocess.run(command, cwd=made, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
