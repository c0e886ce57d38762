# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The flow of the tests: it travels as text in its deployment's pull step."""

import os
import pathlib
import time

from prefect import flow

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def readable(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError as error:
        return type(error).__name__


def writable(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError:
        return False
    return True


@flow(log_prints=True)
def probe(what: str, seconds: int = 0):
    if what == "tell":
        print("user", os.getuid(), "root writable", writable("/x"), "tmp writable", writable("/tmp/x"))
        print("memory", *[text for text in map(readable, LIMITS) if text.isdigit()])
        print("sockets", [str(path) for path in pathlib.Path("/var/run").glob("*.sock")])
        print("secrets", sorted(path.name for path in pathlib.Path("/run/secrets").iterdir() if path.is_file()))
        print("warehouse", len(readable("/run/secrets/warehouse_password")))
        print("colour", os.environ.get("COLOUR"))
    if what == "fail":
        raise ValueError("nothing to learn from")
    if what == "hog":
        print("held", len(bytearray(1 << 30)))
    for number in range(seconds):
        print("second", number)
        time.sleep(1)
