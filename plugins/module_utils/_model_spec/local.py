# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a declaration names on the control host: its source, data sets, lock and code; read here, never changed.

Relative paths count from ``directory``: the one of the declaration's file, or else the inventory's.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from .spec import ModelSpec

_REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def resolve(directory: Path, path: str) -> Path:
    return Path(os.path.normpath(directory / Path(path).expanduser()))


# Locks


def lock_lines(text: str) -> list[str]:
    """The requirements of a lock, one a line, without comments: what the environment depends on."""
    joined = re.sub(r"\\\r?\n\s*", " ", text)
    lines = (re.sub(r"(^|\s)#.*$", "", line) for line in joined.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


def lock_digest(text: str) -> str:
    """SHA-256 of what the environment depends on: comments and broken lines don't count."""
    return hashlib.sha256("\n".join(lock_lines(text)).encode()).hexdigest()


def lock_problems(text: str) -> list[str]:
    """Why a file is no lock; one line for each kind of reason."""
    lines = lock_lines(text)
    options = [line for line in lines if line.startswith("-")]
    requirements = [line for line in lines if not line.startswith("-")]
    unhashed = [_requirement(line) for line in requirements if "--hash=" not in line]
    problems = []
    if options:
        problems.append(
            f"has the option {options[0]!r}; a lock stands alone, and indexes are the site's (mlops_pip_index_url)"
        )
    if unhashed:
        rest = f" and {len(unhashed) - 3} more" if len(unhashed) > 3 else ""
        how = "uv pip compile --generate-hashes --no-emit-index-url"
        problems.append(f"has no hashes for {', '.join(unhashed[:3])}{rest}; make it with {how}")
    if not requirements and not options:
        problems.append("names no requirement")
    return problems


def _requirement(line: str) -> str:
    match = _REQUIREMENT_NAME.match(line)
    return match.group() if match else line[:40]


# The image


def image_name(spec: ModelSpec, directory: Path) -> str:
    """``model-`` and 12 digits of the hash of all that the environment comes from; equal ones share an image."""
    parts: dict[str, object] = {"lock": _lines(resolve(directory, spec.requirements))}
    if spec.runtime != "mlops":
        parts["runtime"] = spec.runtime
    if spec.python:
        parts["python"] = spec.python
    if spec.model_class and spec.model_class.code:
        parts["code"] = tree_digest(resolve(directory, spec.model_class.code))
    return "model-" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def image_files(spec: ModelSpec, directory: Path) -> dict[str, object]:
    """What goes into the image's build context, by its place there: the lock's own lines, and the class's directory."""
    lock = "\n".join(_lines(resolve(directory, spec.requirements))) + "\n"
    files: dict[str, object] = {"requirements.txt": {"content": lock}}
    if spec.model_class and spec.model_class.code:
        files["code"] = str(resolve(directory, spec.model_class.code))
    return files


# Directories


def tree_files(root: Path) -> Iterator[Path]:
    """A directory's files in order, without what tools leave behind."""
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        if path.is_file() and "__pycache__" not in inside and not any(part.startswith(".") for part in inside):
            yield path


def tree_digest(root: Path) -> str:
    """SHA-256 over the sorted lines "<sha256 of file>  <relative path>", as the registry keeps it."""
    return digest_of({path.relative_to(root).as_posix(): file_digest(path) for path in tree_files(root)})


def digest_of(files: Mapping[str, str]) -> str:
    """The same of files whose hashes are known; ``files``: relative path to SHA-256."""
    lines = sorted(f"{sha256}  {path}\n" for path, sha256 in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _lines(lock: Path) -> list[str]:
    return lock_lines(_text(lock))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# Metrics


def read_metrics(spec: ModelSpec, directory: Path) -> dict[str, float]:
    """The figures of the file that the declaration names: JSON, one flat mapping of numbers.

    Empty where no file is named, or where it has yet to be made. Raises ValueError where it holds something else.
    """
    file = resolve(directory, spec.metrics)
    if not spec.metrics or not file.is_file():
        return {}
    try:
        found = json.loads(_text(file))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(found, dict) or not all(type(value) in (int, float) for value in found.values()):
        raise ValueError(f"{file} is not one flat mapping of names to numbers")
    return {str(name): float(value) for name, value in found.items()}


# All that can be wrong


def local_problems(spec: ModelSpec, directory: Path, path: str) -> list[str]:
    """What is missing or unusable on the control host, under the variable's path."""
    problems: list[str] = []
    if spec.requirements:
        lock = resolve(directory, spec.requirements)
        found = _lock_file_problems(lock, f"{path}.requirements")
        if not found and spec.runtime == "seldon_core" and re.search(r"^numpy==[2-9]", "\n".join(_lines(lock)), re.M):
            found = [
                f"{path}.requirements: {lock} has numpy 2, and seldon-core 1.17.1 needs an older one; lock numpy<2"
            ]
        problems += found
    if spec.model_class and spec.model_class.code:
        problems += _code_problems(spec.model_class.name, resolve(directory, spec.model_class.code), f"{path}.class")
    source = spec.source
    prepare = source.prepare if source else None
    if source and source.path:
        problems += _source_problems(resolve(directory, source.path), f"{path}.source.path", made=prepare is not None)
    if prepare:
        where = f"{path}.source.prepare"
        if prepare.requirements:
            problems += _lock_file_problems(resolve(directory, prepare.requirements), f"{where}.requirements")
        for index, name in enumerate(prepare.inputs):
            if not resolve(directory, name).exists():
                problems.append(f"{where}.inputs[{index}]: {resolve(directory, name)} does not exist")
    for index, dataset in enumerate(spec.datasets):
        file = resolve(directory, dataset.path)
        if not prepare and not file.exists():
            problems.append(f"{path}.datasets[{index}].path: {file} does not exist")
    if spec.metrics and not prepare and not resolve(directory, spec.metrics).is_file():
        problems.append(f"{path}.metrics: {resolve(directory, spec.metrics)} does not exist")
    try:
        read_metrics(spec, directory)
    except ValueError as error:
        problems.append(f"{path}.metrics: {error}")
    return problems


def _source_problems(target: Path, path: str, *, made: bool) -> list[str]:
    if not target.exists():
        hint = "name an MLflow model directory, or say in source.prepare what makes it"
        return [] if made else [f"{path}: {target} does not exist; {hint}"]
    if not (target / "MLmodel").is_file():
        return [f"{path}: {target} has no MLmodel file; name the directory that MLflow's save_model wrote"]
    return []


def _lock_file_problems(file: Path, path: str) -> list[str]:
    if not file.is_file():
        return [f"{path}: {file} {'is not a file' if file.exists() else 'does not exist'}"]
    try:
        return [f"{path}: {file} {problem}" for problem in lock_problems(_text(file))]
    except UnicodeDecodeError:
        return [f"{path}: {file} is not text"]


def _code_problems(name: str, root: Path, path: str) -> list[str]:
    if not root.is_dir():
        return [f"{path}.code: {root} is not a directory"]
    # As Seldon's wrapper finds it: "Fraud" is class Fraud of module Fraud, "a.b.Fraud" is class Fraud of module a.b.
    *package, class_name = name.split(".")
    module = Path(*(package or [class_name]))
    file = next(
        (root / found for found in (module.with_suffix(".py"), module / "__init__.py") if (root / found).is_file()),
        None,
    )
    if file is None:
        return [f"{path}.name: {root} has no module {'.'.join(package) or class_name}"]
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        return [f"{path}.code: {file} is not Python: {error.msg} (line {error.lineno})"]
    defined = {
        getattr(alias, "asname", None) or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    defined |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return [] if class_name in defined or "*" in defined else [f"{path}.name: {file} defines no class {class_name}"]
