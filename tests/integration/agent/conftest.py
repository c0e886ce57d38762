# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stand import NAMESPACE, Stand, standing

CLIENTS = {
    "operator": {},
    "tester": {"sets": ["models"], "paths": [f"/seldon/{NAMESPACE}/"], "secrets": ["tester_password"]},
}


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    secrets = {"agent_token_operator": "o" * 48, "agent_token_tester": "t" * 48, "tester_password": "p" * 20}
    variables = {"agent_clients": CLIENTS, "agent_wait_timeout": 30, "stand_secret_values": secrets}
    with standing(tmp_path_factory.mktemp("stand"), **variables) as stand:
        yield stand
