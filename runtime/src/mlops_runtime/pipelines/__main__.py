# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""`mlops-pipelines pack DIRECTORY --model NAME`: store a flow's code, and print its version."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from _model_spec.flow_code import BadArchive, pack

from mlops_runtime.contracts.mlflow import Mlflow, MlflowError
from mlops_runtime.contracts.settings import SettingsError, read_tracking
from mlops_runtime.pipelines.code import store


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mlops-pipelines", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("pack", "store a flow's code in MLflow"), ("version", "say which version it would be")):
        command = commands.add_parser(name, help=what)
        command.add_argument("directory", type=Path)
        command.add_argument("--lock", default="", help="the file in it that the environment is made from")
        command.add_argument("--image", default="", help="what it runs in, by digest")
        command.add_argument("--exclude", action="append", default=[], help="a pattern of paths; may be given again")
        if name == "pack":
            command.add_argument("--model", required=True)
    options = parser.parse_args(arguments)
    try:
        archive = pack(options.directory, lock=options.lock, image=options.image, exclude=options.exclude)
        if options.command == "pack":
            store(Mlflow(read_tracking(os.environ)), options.model, archive)
    except (BadArchive, MlflowError, SettingsError, OSError) as error:
        print(f"mlops-pipelines: {error}", file=sys.stderr)
        return 1
    print(archive.version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
