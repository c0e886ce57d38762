# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from mlops_runtime.agent.settings import Settings


def test_settings_come_from_the_environment() -> None:
    settings = Settings.read(
        {
            "MLOPS_AGENT_NAMESPACE": "ml",
            "MLOPS_AGENT_DOMAIN_ALIASES": "127.0.0.1, gateway,",
            "MLOPS_AGENT_TLS": "True",
            "MLOPS_AGENT_TOKENS_FILE": "/run/secrets/agent_tokens",
            "MLOPS_AGENT_RESYNC_SECONDS": "2.5",
            "MLOPS_AGENT_KUBERNETES": '{"entry": "host_port", "manage_namespaces": false}',
        }
    )
    assert settings == Settings(
        namespace="ml",
        domain_aliases=("127.0.0.1", "gateway"),
        tls=True,
        tokens_file=Path("/run/secrets/agent_tokens"),
        resync_seconds=2.5,
        kubernetes={"entry": "host_port", "manage_namespaces": False},
    )


def test_defaults_are_those_of_an_empty_environment() -> None:
    assert Settings.read({}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TLS", "yes"),
        ("PORT", "http"),
        ("PORT", "0"),
        ("RESYNC_SECONDS", "nan"),
        ("KUBERNETES", "{"),
        ("KUBERNETES", "[]"),
    ],
)
def test_what_cannot_be_understood_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"MLOPS_AGENT_{name}"):
        Settings.read({f"MLOPS_AGENT_{name}": value})
