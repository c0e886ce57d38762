# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the broker: writes its properties, prepares its directory at the first start, and becomes Java."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from mlops_kafka.settings import Settings, SettingsError, properties

ARCHIVE = "classes.jsa"
AGENT = "jmx_prometheus_javaagent"


def class_path(home: Path) -> str:
    """The jars in a fixed order: the archive of loaded classes holds for that order alone."""
    jars = sorted(path for path in (home / "lib").glob("*.jar") if not path.name.startswith(AGENT))
    if not jars:
        raise SettingsError(f"KAFKA_HOME: there are no jars in {home / 'lib'}")
    return ":".join(map(str, jars))


def java(settings: Settings, options: Iterable[str], arguments: Iterable[str]) -> list[str]:
    """The command that runs a class of Kafka's with what all of them need."""
    home = settings.home
    return [
        "java",
        f"-Xmx{settings.heap}",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+ErrorFileToStdout",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={settings.scratch}",
        *native_options(home / "native"),
        f"-Dlog4j2.configurationFile={home / 'log4j2.properties'}",
        *options,
        "-cp",
        class_path(home),
        *arguments,
    ]


def native_options(directory: Path) -> list[str]:
    """Where snappy-java, zstd-jni and lz4-java find their libraries.

    By themselves they unpack them to a directory that code is run from, and the container has none such.
    """
    return [
        f"-Dorg.xerial.snappy.lib.path={directory}",
        "-Dorg.xerial.snappy.lib.name=libsnappyjava.so",
        f"-DZstdNativePath={directory / 'libzstd-jni.so'}",
        f"-Djava.library.path={directory}",
    ]


def serving_options(settings: Settings) -> list[str]:
    """What only the broker has: the classes that it loads from an archive, its metrics, the site's own options."""
    home, found = settings.home, []
    if (home / ARCHIVE).is_file():
        found += [f"-XX:SharedArchiveFile={home / ARCHIVE}", "-Xshare:auto"]
    agent = next((home / "lib").glob(f"{AGENT}-*.jar"), None)
    if agent:
        address = f"{settings.listen or '0.0.0.0'}:{settings.ports.metrics}"  # noqa: S104  a container
        found.append(f"-javaagent:{agent}={address}:{home / 'metrics.yml'}")
    return [f"-Xms{settings.heap}", *found, *settings.java_options]


def write_properties(settings: Settings) -> Path:
    path = settings.scratch / "server.properties"
    path.write_text("".join(f"{name}={_escaped(value)}\n" for name, value in properties(settings).items()))
    return path


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\")


def prepare(settings: Settings, path: Path) -> None:
    """Give the directory its cluster's id and the broker's number, once; Kafka itself refuses what isn't its own."""
    if (settings.data / "meta.properties").exists():
        return
    settings.data.mkdir(parents=True, exist_ok=True)
    tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={settings.cluster}", f"--config={path}"]
    done = subprocess.run(java(settings, ["-Xshare:auto"], tool), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SettingsError(f"{settings.data} can't be prepared: {(done.stderr or done.stdout).strip()[-2000:]}")
    print(f"mlops-kafka: {settings.data} is prepared as broker {settings.node_id} of {settings.cluster}", flush=True)


def serve(settings: Settings) -> NoReturn:
    path = write_properties(settings)
    prepare(settings, path)
    command = java(settings, serving_options(settings), ["kafka.Kafka", str(path)])
    os.execvp(command[0], command)  # noqa: S606  the broker takes this process, and its signals
