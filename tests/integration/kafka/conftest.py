# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Real brokers as the image runs them, and the clients that the platform's services are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for path in (Path(__file__).parent, ROOT / "tests/servers", ROOT / ".collections", ROOT / "images/kafka"):
    sys.path.insert(0, str(path))

from ansible_collections.mlops.onprem.plugins.action.generated_secrets import sealed_certificate  # noqa: E402
from kafka import java  # noqa: E402

ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


@pytest.fixture(scope="session")
def certificate() -> str:
    """As the platform makes it, for the addresses of the tests' brokers."""
    if java() is None:
        pytest.skip("there is no Java here")
    return sealed_certificate(["kafka", *ADDRESSES])
