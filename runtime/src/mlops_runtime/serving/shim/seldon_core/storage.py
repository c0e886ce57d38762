# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Models that lie in this container."""

from __future__ import annotations

from pathlib import Path


class Storage:
    @staticmethod
    def download(uri: str, out_dir: str | None = None) -> str:
        """The place of a local model. Nothing is fetched from elsewhere, as in Seldon Core 1.17."""
        path = Path(uri.removeprefix("file://"))
        if not path.exists():
            raise RuntimeError(f"Local path {uri} does not exist.")
        if out_dir is None:
            return str(path)
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        for source in path.iterdir() if path.is_dir() else [path]:
            link = Path(out_dir, source.name)
            if not link.exists():
                link.symlink_to(source)
        return out_dir
