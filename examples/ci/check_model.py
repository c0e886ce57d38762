# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a model's repository is held to before anything of it goes to the platform. Needs no platform.

    check_model.py declaration model.yml    nothing is wrong with it, nor with what it names
    check_model.py train model.yml          source.prepare makes what is declared, in its locked environment
    check_model.py wrapper model.yml        the model, or its class, answers in its own locked environment
    check_model.py flow model.yml           the flow is imported where it will run, and its code is what is committed

Run by the collection's control environment; environments of locks are made once, in the user's cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".collections"))

from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import (
    ModelVersion,
    Platform,
    resolve,
    workloads,
)
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec.flow_code import BadArchive, pack
from ansible_collections.mlops.onprem.plugins.modules import model_source
from ansible_collections.mlops.onprem.plugins.plugin_utils.model_filters import (
    model_plan,
    model_problems,
    model_summary,
)
from ansible_collections.mlops.onprem.plugins.plugin_utils.models import read_models

RUNTIME = ROOT / "runtime/src"
TIMEOUT = 1800
#: Runs a module with the server's packages behind all others, as the image has them.
BEHIND = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), run_name='__main__')"
#: Imports a flow, as a worker does.
IMPORT = """
import importlib.util, sys
import prefect
file, function = sys.argv[1:]
spec = importlib.util.spec_from_file_location("flow_of_the_model", file)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
found = getattr(module, function)
sys.exit(0 if isinstance(found, prefect.Flow) else f"{function} is {type(found).__name__}, and no flow")
"""


class Failed(Exception):
    """The check found what is wrong; the message says it."""


def declaration(file: Path) -> str:
    if problems := model_problems([str(file)], str(file.parent)):
        raise Failed("\n".join(problems))
    return "the declaration is sound"


def train(file: Path) -> str:
    (plan,) = model_plan([str(file)], str(file.parent))
    if not plan["prepare"]:
        return "nothing has to be made"
    given = {**plan["prepare"], "python_path": [str(RUNTIME)], "cache": str(model_source.default_cache())}
    try:
        log, _ = model_source.prepare(given, file.parent)
    except model_source.Failed as error:
        raise Failed("\n".join([str(error), *error.log])) from error
    return "\n".join([*log, declaration(file)])


def wrapper(file: Path) -> str:
    (found,), _ = read_models([str(file)], str(file.parent))
    spec = found.spec
    if spec.runtime != "mlops":
        return f"runtime {spec.runtime}: it is checked when its image is built"
    python = _environment(resolve(file.parent, spec.requirements))
    asked = model_summary([str(file)], str(file.parent), "mlops", "")[0]["data"]
    if not spec.source or not spec.source.path or not asked:
        raise Failed("there is no row to ask: give source.path with MLflow's input example, or declare an example")
    (served,) = workloads(spec, [ModelVersion("1", "model")], Platform("mlops"))
    given = served["env"]
    assert isinstance(given, dict)
    env = {name: value for name, value in given.items() if not name.startswith(("MLFLOW_", "MLOPS_"))}
    env |= {"MLOPS_MODEL_DIR": str(resolve(file.parent, spec.source.path)), "PYTHONPATH": str(RUNTIME)}
    code = resolve(file.parent, spec.model_class.code) if spec.model_class and spec.model_class.code else None
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder, "request.json")
        request.write_text(json.dumps({"data": asked}))
        # The class lies in the working directory, as in the image.
        command = [python, "-c", BEHIND, _server(), "mlops_runtime.serving.check", "--ask", request]
        return _run(command, code or Path(folder), env)


def flow(file: Path) -> str:
    (plan,) = model_plan([str(file)], str(file.parent))
    if not plan["flow"]:
        return "no flow retrains it"
    path, function = plan["flow"]["flow"].rsplit(":", 1)
    try:
        here = pack(Path(path).parent, exclude=plan["flow"]["exclude"])
        committed = _committed(Path(path).parent, plan["flow"]["exclude"])
    except BadArchive as error:
        raise Failed(str(error)) from error
    if others := sorted(name for name, _ in dict(here.files).items() ^ dict(committed.files).items()):
        raise Failed(f"the flow's code isn't what is committed: {', '.join(others)}")
    python = _environment(ROOT / "images/pipelines/requirements.txt")
    modules = os.pathsep.join([str(Path(path).parent), str(RUNTIME), str(ROOT / "plugins/module_utils")])
    _run([python, "-c", IMPORT, path, function], Path(path).parent, {"PYTHONPATH": modules})
    return f"{function} is a flow; its code has the hash {here.code}"


def _committed(directory: Path, exclude: list[str]) -> Any:
    """The archive of what git knows, without what else lies there."""
    listed = _run(["git", "ls-files", "-z", "--cached"], directory, {}).split("\0")
    with tempfile.TemporaryDirectory() as folder:
        for name in filter(None, listed):
            if (directory / name).is_file():
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(directory / name, target)
        return pack(Path(folder), exclude=exclude)


def _environment(lock: Path) -> Path:
    try:
        return model_source.make_environment(lock, model_source.default_cache(), TIMEOUT) / "bin/python"
    except model_source.Failed as error:
        raise Failed("\n".join([str(error), *error.log])) from error


def _server() -> Path:
    """The model server's own packages, as the image has them beside the model's."""
    lock = ROOT / "images/model_server/server.txt"
    key = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = model_source.default_cache() / f"server-{key}"
    if not (place / ".complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        tool = model_source.uv()
        pip = [*tool, "pip", "install"] if tool else [sys.executable, "-m", "pip", "install"]
        options = ["--quiet", "--target", place, "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", lock]
        _run([*pip, *(["--python", model_source.base_python()] if tool else []), *options], ROOT, {})
        (place / ".complete").touch()
    return place


def _run(command: list[Any], directory: Path, env: dict[str, str]) -> str:
    """What it prints."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=directory,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise Failed((done.stdout + done.stderr).strip() or f"{command[0]} ended with {done.returncode}")
    return done.stdout.strip()


CHECKS: dict[str, Callable[[Path], str]] = {
    "declaration": declaration,
    "train": train,
    "wrapper": wrapper,
    "flow": flow,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("declaration", type=Path, help="the file, such as model.yml")
    options = parser.parse_args()
    try:
        print(CHECKS[options.check](options.declaration.resolve()))
    except Failed as error:
        print(f"{options.check}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
