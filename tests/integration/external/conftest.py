# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from external_site import Platform
from site_services import ADMIN_PASSWORD, Services


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return Platform(tmp_path_factory.mktemp("platform"))


@pytest.fixture(scope="session")
def services(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    services = Services(tmp_path_factory.mktemp("services"))
    if missing := [title for title in ("postgresql", "seaweedfs") if not services.image(title)]:
        platform.run("images", images_wanted=missing)
    try:
        services.start()
        rights = f"LOGIN CREATEROLE CREATEDB PASSWORD $${ADMIN_PASSWORD}$$"
        services.sql("SET log_statement = none", f"CREATE ROLE site_admin {rights}")
        platform.with_services(services)
        yield services
    finally:
        services.stop()


@pytest.fixture(scope="session")
def installed(platform: Platform, services: Services) -> Iterator[str]:
    """The output of the installation."""
    try:
        yield platform.run("site", "--diff")
    finally:
        platform.play("uninstall", mlops_remove_data=True)
