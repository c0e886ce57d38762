# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is missing is made, bases first, and no base that nothing missing needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.plan import (
    items,
    missing,
    pull_key,
    refuse_evaluation,
)
from ansible_collections.mlops.onprem.plugins.module_utils._images.recipe import Table

DIGEST = "sha256:" + "b" * 64
UPSTREAM = "docker.io/library/proxy:v1.2"


@pytest.fixture
def table(tmp_path: Path) -> Table:
    rows: dict[str, Any] = {
        "base": {"build": {"context": "base"}},
        "app": {"build": {"context": "app", "base": "base"}},
        "proxy": {"pull": UPSTREAM, "build": {"context": "proxy", "base": "base"}, "evaluation": True},
    }
    for name in rows:
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "proxy" / "Dockerfile.pull").write_text("ARG UPSTREAM\n")
    return Table(rows, tmp_path)


def plan(table: Table, wanted: list[str], present: set[str], source: str = "build", **more: Any) -> list[str]:
    known = items(table, table.order(wanted), address="r:5000", source=source, digests=more.pop("digests", {}))
    digests = {item.reference: DIGEST if item.name in present else None for item in known}
    return [item.name for item in missing(table, wanted, known, digests, rebuild=more.pop("rebuild", False))]


def test_nothing_missing_builds_nothing(table: Table) -> None:
    assert plan(table, ["app", "proxy"], {"app", "proxy"}) == []


def test_missing_ones_come_after_their_bases(table: Table) -> None:
    assert plan(table, ["app", "proxy"], set()) == ["base", "app", "proxy"]
    assert plan(table, ["app", "proxy"], {"base", "proxy"}) == ["app"]
    assert plan(table, ["app"], {"app"}) == []


def test_rebuild_makes_all_of_it(table: Table) -> None:
    assert plan(table, ["app"], {"base", "app"}, rebuild=True) == ["base", "app"]


def test_pulled_images_need_no_bases(table: Table) -> None:
    assert plan(table, ["proxy"], set(), source="pull") == ["proxy"]
    assert plan(table, ["proxy"], {"proxy"}, source="pull", digests={UPSTREAM: DIGEST}) == []


def test_a_pulled_image_is_held_to_the_locked_digest(table: Table) -> None:
    (first,) = items(table, ["proxy"], address="r:5000", source="pull", digests={})
    assert (first.key, first.upstream_digest, first.upstream) == ("", None, UPSTREAM)
    (held,) = items(table, ["proxy"], address="r:5000", source="pull", digests={UPSTREAM: DIGEST})
    assert held.upstream_digest == DIGEST
    assert held.key == pull_key(DIGEST, table.upstream_key("proxy")) and held.key.startswith("pull-" + "b" * 16)


def test_a_mirror_takes_the_place_of_upstreams_registry(table: Table) -> None:
    (item,) = items(table, ["proxy"], address="r", source="pull", digests={}, mirror="m.example.org/hub")
    assert item.upstream == "m.example.org/hub/library/proxy:v1.2"


def test_evaluation_recipes_need_leave_but_pulled_ones_dont(table: Table) -> None:
    built = items(table, ["proxy"], address="r", source="build", digests={})
    with pytest.raises(ImagesError, match=r"proxy.*mlops_images_allow_evaluation"):
        refuse_evaluation(built, allowed=False)
    refuse_evaluation(built, allowed=True)
    refuse_evaluation(items(table, ["proxy"], address="r", source="pull", digests={}), allowed=False)
