# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Gives an engine the platform's images that this machine's own has, under the names of a site's registry.

A site on a test bed then has nothing to build. Prints the names that are new.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

import docker

KEY, TITLE = "mlops.image.key", "org.opencontainers.image.title"


def named(image: Any, registry: str) -> str:
    """The image's name at a registry; empty for one that isn't the platform's."""
    title, key = image.labels.get(TITLE), image.labels.get(KEY)
    return f"{registry}/{title}:{key}" if title and key else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", required=True, help="host and port of the site's registry")
    parser.add_argument("--engine", default="", help="the engine's address; empty for this machine's own")
    options = parser.parse_args()
    try:
        own = docker.from_env(timeout=600)
        found = [image for image in own.images.list(filters={"label": KEY}) if image.tags]
    except docker.errors.DockerException as error:
        print(f"no engine runs here, so there are none to lend: {error}", file=sys.stderr)
        return 0
    newest: dict[str, Any] = {}
    for image in sorted(found, key=lambda one: one.attrs["Created"]):
        if named(image, options.registry):
            newest[image.labels[TITLE]] = image
    other = docker.DockerClient(options.engine, timeout=600) if options.engine else own
    there = {tag for image in other.images.list() for tag in image.tags}
    missing = {name: image for image in newest.values() if (name := named(image, options.registry)) not in there}
    if not missing:
        return 0
    if other is not own:
        save = subprocess.Popen(["docker", "save", *(image.id for image in missing.values())], stdout=subprocess.PIPE)
        subprocess.run(
            ["docker", "-H", options.engine, "load", "--quiet"],
            stdin=save.stdout,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        if save.wait():
            return 1
    for name, image in missing.items():
        repository, _, tag = name.rpartition(":")
        other.images.get(image.id).tag(repository, tag)
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
