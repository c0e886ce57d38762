# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A registry of images, a registry of models, and the image builder between them, all as the roles run them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "images"))
sys.path.insert(0, str(Path(__file__).parents[2] / "servers"))
sys.path.insert(0, str(Path(__file__).parents[3] / ".collections"))

from builder_stand import MODEL, NAME, PORT, Stand, builder_rows, clean_up, make_play
from image_site import Site, clean, docker, find_buildkit, lend, own_address
from mlflow import PASSWORD, Mlflow


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    if find_buildkit() is None or not docker("info", "--format", "{{.ServerVersion}}", check=False):
        pytest.skip("no Docker engine with BuildKit answers")
    # With TLS by the site's CA and a user, as between hosts.
    try:
        address = f"{own_address()}:{PORT}"
    except OSError:
        pytest.skip("this host has no address but loopback")
    clean_up()
    clean(NAME, address)
    lend(address, "base", "python_build", "registry", "image_builder")
    folder = tmp_path_factory.mktemp("site")
    make_play(folder)
    site = Site(folder, NAME, address)
    with Mlflow.started(tmp_path_factory.mktemp("mlflow")) as mlflow:
        mlflow.add_user("images", PASSWORD)
        mlflow.grant("images", "registered_model", "*", "EDIT")
        mlflow.grant("images", "experiment", "*", "READ")
        made = site.run(images_wanted=["base", "image_builder", MODEL], images_extra=builder_rows())
        stand = Stand(site, mlflow, made.images)
        stand.run()
        yield stand
    clean_up()
    site.run(registry_verb="absent", mlops_remove_data=True)
    clean(NAME, address)
