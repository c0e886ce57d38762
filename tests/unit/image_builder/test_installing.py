# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Locks that are more than a lock are refused, and what uv says is told without credentials."""

from __future__ import annotations

import pytest
from mlops_runtime.image_builder import installing
from mlops_runtime.image_builder.errors import BuildError

HASH = "--hash=sha256:" + "0" * 64


def test_a_lock_is_taken() -> None:
    installing.check(
        f"# made by uv\nnumpy==2.1.0 ; python_full_version < '3.13' \\\n    {HASH} \\\n    {HASH}\n"
        f"scikit-learn[x]==1.5 {HASH}\n"
    )


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ("", "names no requirement"),
        ("numpy==2.1.0\n", "has no hashes for numpy"),
        (f"-r /etc/passwd\nnumpy==2.1.0 {HASH}\n", "has the option"),
        (f"--index-url https://example.org\nnumpy==2.1.0 {HASH}\n", "has the option"),
        (f"-e /tmp/x {HASH}\n", "has the option"),
        (f"numpy @ https://example.org/numpy.whl {HASH}\n", "names an address for numpy"),
        (f"numpy @ file:///etc/passwd {HASH}\n", "names an address for numpy"),
        (f"./numpy.whl {HASH}\n", "is no requirement"),
        (f"https://example.org/numpy.whl {HASH}\n", "is no requirement"),
    ],
)
def test_what_is_more_or_less_than_a_lock_is_refused(lock: str, said: str) -> None:
    with pytest.raises(BuildError, match="its lock") as raised:
        installing.check(lock)
    assert said in str(raised.value)


def test_what_a_command_said_is_told_without_credentials() -> None:
    told = installing.shown("error: failed\n  to fetch https://user:secret@index.example.org/simple/numpy/  \n")
    assert told == "error: failed to fetch https://index.example.org/simple/numpy/"
    assert len(installing.shown("x" * 10_000)) < 2000
