# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The component grafana, running: a second run, and what people see of it through the gateway."""

from __future__ import annotations

import dashboards
import pytest
from installed import Platform


@pytest.fixture(autouse=True)
def installed_here(platform: Platform) -> None:
    if "grafana" not in platform.facts["components"]:
        pytest.skip("Grafana is not among the platform's components")


def test_a_second_run_changes_nothing(platform: Platform) -> None:
    again = platform.playbook()
    assert (again.code, again.changed) == (0, {"0"}), again.end


def test_who_has_a_login_sees_the_dashboards_and_nobody_else_anything(platform: Platform) -> None:
    """That each panel answers is in test_dashboards.py."""
    pages = dashboards.Pages(platform.gateway, platform.secrets["secrets.grafana_admin_password"])
    dashboards.only_with_a_login(pages)
    dashboards.metrics_are_for_the_inside(pages)
    dashboards.dashboards_are_there(pages, platform.name, list(dashboards.boards()))
