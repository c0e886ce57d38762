# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Builds Grafana's server from its Go module, without its web pages: for tests, where no image of it can be pulled.

Its provisioning API, its alerting and its data sources are the real ones. By hand, ten minutes at the first time:

    python tests/servers/grafana_server.py      # prints its directory, for MLOPS_GRAFANA_HOME
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
if str(TESTS / "testbed") not in sys.path:
    sys.path.append(str(TESTS / "testbed"))

import go_programs  # noqa: E402 - found only now
from go_programs import go, make_once, say  # noqa: E402
from nodes import BedError, missing_programs  # noqa: E402

VERSION = "10.0.0"
MODULE = "github.com/grafana/grafana@v1.9.2-0.20230609164553-81d85ce8028d"
"""The commit of that version, as Go counts it."""
WIRE = "github.com/google/wire/cmd/wire@v0.7.0"
"""Writes the code that joins the server's parts, which the module leaves out. Newer than the module's own: that one
doesn't understand what a newer compiler tells."""
SQL_SERVER = "github.com/denisenkom/go-mssqldb"
"""The module replaces it by a fork of which no version can be had any more."""
PAGES = ("views", "emails", "dashboards", "img")
"""Of its web pages what the server itself reads."""


def home() -> Path:
    """Where it is kept, once it is built."""
    return go_programs.place("grafana", [Path(__file__)])


def build() -> Path:
    """Its directory, made where it isn't there yet."""
    return make_once(home(), _build_into)


def _build_into(directory: Path) -> None:
    if missing := missing_programs("gcc"):
        raise BedError(f"Grafana's database is C: install {missing[0]}")
    say(f"building the server of Grafana {VERSION}, once; this takes 5 to 15 minutes")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        sources = Path(scratch)

        def run(*arguments: str) -> list[str]:
            return go("Grafana's server", *arguments, cwd=sources, GOFLAGS="-mod=mod -buildvcs=false")

        run("mod", "init", "scratch")
        run("mod", "download", MODULE)
        shutil.copytree(
            Path(run("env", "GOMODCACHE")[-1]) / MODULE, sources, copy_function=shutil.copyfile, dirs_exist_ok=True
        )
        for written in (sources, sources / "pkg" / "server"):
            written.chmod(0o755)
        run("mod", "edit", f"-replace={SQL_SERVER}={SQL_SERVER}@v0.12.3")
        run("run", WIRE, "gen", "-tags", "oss", "./pkg/server")
        binary = str(directory / "bin" / "grafana")
        flags = f"-s -w -X main.version={VERSION}"
        run("build", "-v", "-trimpath", "-ldflags", flags, "-o", binary, "./pkg/cmd/grafana")
        shutil.copytree(sources / "conf", directory / "conf")
        # What upstream's image begins with.
        shutil.copy(sources / "packaging" / "docker" / "run.sh", directory)
        (directory / "run.sh").chmod(0o755)
        for name in PAGES:
            shutil.copytree(sources / "public" / name, directory / "public" / name)
        # Which data sources there are it learns of these.
        for told in (sources / "public").glob("app/plugins/*/*/plugin.json"):
            kept = directory / told.relative_to(sources)
            kept.parent.mkdir(parents=True)
            shutil.copyfile(told, kept)
    say(f"built in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    try:
        print(build())
    except BedError as error:
        sys.exit(f"grafana_server.py: {error}")
