# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs ansible-test sanity on a copy of the tracked files, laid out as ansible-test wants it.

ansible-test fetches pip's bootstrap script from a host that a closed network doesn't reach; it is given one that uses
the pip that ships with Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from collection import copy

TESTED = (
    ".gitignore",
    "changelogs/",
    "galaxy.yml",
    "meta/",
    "playbooks/",
    "plugins/",
    "README.md",
    "roles/",
    "tests/sanity/",
)
"""What is the collection itself. The rest is not held to Ansible's own rules, but to ruff and mypy."""
BOOTSTRAP = """\
import ensurepip, glob, os, sys
sys.path.insert(0, glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))[0])
from pip._internal.cli.main import main
sys.exit(main(["install", *(a for a in sys.argv[1:] if not a.startswith("--no-"))]))
"""


def home() -> Path:
    """A home folder whose ansible-test cache holds the bootstrap script."""
    made = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mlops-onprem" / "ansible-test"
    cache = made / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in ("24.2", "25.2", "25.3", "26.0"):
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(BOOTSTRAP)
    return made


def main() -> int:
    made = copy("sanity", *TESTED)
    environment = {**os.environ, "HOME": str(home())}
    user_configuration = Path.home() / ".config" / "pip" / "pip.conf"
    if user_configuration.exists():
        environment.setdefault("PIP_CONFIG_FILE", str(user_configuration))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = ["ansible-test", "sanity", "--color", "no", "--python", version, "--venv", *sys.argv[1:]]
    return subprocess.run(command, cwd=made, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
