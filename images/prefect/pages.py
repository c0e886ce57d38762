# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs while the image is built: puts the server's pages where it serves them from, readable for everybody."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["PREFECT_HOME"] = "/tmp/prefect-build"  # noqa: S108  of the build stage, which is thrown away

import prefect
from prefect.server.api.server import UI_STATIC_REFERENCE_FILE_NAME, create_ui_app

create_ui_app(ephemeral=False)
for copied in (Path(prefect.__ui_static_subpath__), Path(prefect.__ui_v2_static_subpath__)):
    assert (copied / UI_STATIC_REFERENCE_FILE_NAME).is_file(), f"{copied}: the pages are not there"
    for path in (copied, *copied.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
