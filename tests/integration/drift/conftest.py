# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One broker for all of these tests, and what they import."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for folder in ("runtime/src", "tests/unit/drift", "tests/integration/drift", "tests"):
    sys.path.insert(0, str(ROOT / folder))

from mlops_runtime.drift import registry  # noqa: E402
from servers.kafka import Kafka, java  # noqa: E402 it is found by the lines above

registry.KINDS["cusum"] = "cusum:Cusum"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    if java() is None:
        pytest.skip("there is no Java to run a broker")
    with Kafka.started(tmp_path_factory.mktemp("kafka"), {"transaction.state.log.num.partitions": "4"}) as broker:
        yield broker


@pytest.fixture
def broker(kafka: Kafka) -> str:
    return kafka.address
