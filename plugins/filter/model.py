# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters from the declared models to what is registered, built and served.

All take the list of declarations and the directory that relative paths count from. An entry that is a string names a
file with one declaration, and the paths in it count from that file.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import (
    ModelSpec,
    ModelVersion,
    Platform,
    image_files,
    image_name,
    local_problems,
    parse_model,
    prediction_path,
    preparation,
    read_metrics,
    repeated_names,
    resolve,
    workload_name,
    workloads,
)

VARIABLE = "mlops_models"
CHAMPION = "champion"
# Tags of a model version: the environment that it runs in, by its name in the artefact table and as the image of it.
ENVIRONMENT_TAG = "mlops.environment"
IMAGE_TAG = "mlops.image"


@dataclass(frozen=True)
class Declared:
    """A declaration, where it stands in the variable, and the directory that its paths count from."""

    path: str
    directory: Path
    spec: ModelSpec


def _read(models: Any, directory: str) -> tuple[list[Declared], list[str]]:
    """The declarations as far as they can be read, and what is wrong with them."""
    if isinstance(models, (str, Mapping)) or not isinstance(models, Sequence):
        return [], [f"{VARIABLE}: must be a list of models, not {type(models).__name__}"]
    declared: list[Declared] = []
    problems: list[str] = []
    values: list[tuple[str, Any]] = []
    for index, value in enumerate(models):
        path, place = f"{VARIABLE}[{index}]", Path(directory)
        if isinstance(value, str):
            file = resolve(place, value)
            place = file.parent
            try:
                value = yaml.safe_load(file.read_text(encoding="utf-8"))
            except OSError as error:
                problems.append(f"{path}: {file} can't be read: {error.strerror}")
                continue
            except (UnicodeDecodeError, yaml.YAMLError) as error:
                problems.append(f"{path}: {file} is not YAML: {' '.join(str(error).split())}")
                continue
        values.append((path, value))
        spec, found = parse_model(value, path)
        problems += found
        if spec is not None:
            declared.append(Declared(path, place, spec))
    return declared, problems + repeated_names(values)


def _sound(models: Any, directory: str) -> list[Declared]:
    declared, problems = _read(models, directory)
    if problems:
        raise AnsibleFilterError("\n".join(problems))
    return declared


def model_problems(models: Any, directory: str) -> list[str]:
    """All that is wrong with the declarations and with what they name on the control host."""
    declared, problems = _read(models, directory)
    return problems + [problem for one in declared for problem in local_problems(one.spec, one.directory, one.path)]


def model_plan(models: Any, directory: str) -> list[dict[str, Any]]:
    """What to prepare and to register, with the control host's paths in full."""
    return [_plan(one) for one in _sound(models, directory)]


def _plan(one: Declared) -> dict[str, Any]:
    spec, source, prepare = one.spec, one.spec.source, preparation(one.spec, one.directory)
    if source is None:
        raise AnsibleFilterError(f"{one.path}.source: is missing")
    return {
        "name": spec.name,
        "description": spec.description,
        "spec": json.loads(spec.to_tag()),
        "tags": dict(spec.tags),
        "promote": spec.promote,
        "image": image_name(spec, one.directory),
        "source": {
            "path": str(resolve(one.directory, source.path)) if source.path else "",
            "uri": source.uri,
            "run_id": source.run_id,
            "run_path": source.run_path,
        },
        "ready": not source.path or resolve(one.directory, source.path).exists(),
        "datasets": [
            {"name": dataset.name, "path": str(resolve(one.directory, dataset.path)), "context": dataset.context}
            for dataset in spec.datasets
        ],
        "metrics": _metrics(one),
        "prepare": {}
        if prepare is None
        else {**asdict(prepare), "command": list(prepare.command), "outputs": list(prepare.outputs)},
    }


def _metrics(one: Declared) -> dict[str, float]:
    try:
        return dict(read_metrics(one.spec, one.directory))
    except ValueError as error:
        raise AnsibleFilterError(f"{one.path}.metrics: {error}") from error


def model_images(models: Any, directory: str, artifacts: Any) -> dict[str, dict[str, Any]]:
    """Rows of the artefact table for the images that the declared models run in; equal environments are one image."""
    images: dict[str, dict[str, Any]] = {}
    for one in _sound(models, directory):
        row = dict(artifacts["seldon_core" if one.spec.runtime == "seldon_core" else "model_server"])
        build = dict(row["build"])
        build["files"] = {**build.get("files", {}), **image_files(one.spec, one.directory)}
        if one.spec.python:
            bases = [build["base"]] if isinstance(build["base"], str) else build["base"]
            build["base"] = [one.spec.python if base == "base" else base for base in bases]
        images[image_name(one.spec, one.directory)] = {**row, "build": build}
    return images


def model_served(plan: Any, versions: Any, registered: Any, others: Any, references: Any) -> dict[str, dict[str, str]]:
    """The champion of each model that has one: version, image, reference of the image, sha256 of the files.

    ``versions`` and ``registered`` are the results of a loop over the plan with the modules mlflow_model_version and
    mlflow_registered_model. ``others`` are those of mlflow_model_version_info, for the champions of models whose
    declared version isn't champion or, in check mode, has yet to be made. ``references``: image name to reference.
    """
    declared = {result["item"]["name"]: result["model_version"] for result in versions}
    aliases = {result["item"]["name"]: result["registered_model"]["aliases"] for result in registered}
    champions = {one["name"]: one for result in others for one in result.get("model_versions", [])}
    served: dict[str, dict[str, str]] = {}
    for model in plan:
        name = model["name"]
        version = declared.get(name)
        if version is not None and CHAMPION in (version["aliases"] or []):
            served[name] = _version(version, references)
        elif name in champions:
            served[name] = _version(champions[name], references)
        elif version is None and not (aliases.get(name) or {}):
            served[name] = _version({"name": name, "tags": {ENVIRONMENT_TAG: model["image"]}}, references)
    return served


def _version(version: Mapping[str, Any], references: Mapping[str, Any]) -> dict[str, str]:
    # In check mode the number of a version that has yet to be made isn't known.
    number = version.get("version") or "new"
    tags = version["tags"] or {}
    image = str(tags.get(ENVIRONMENT_TAG, ""))
    reference = references.get(image) or tags.get(IMAGE_TAG, "")
    if not image or not reference:
        raise AnsibleFilterError(
            f"{VARIABLE}: version {number} of {version['name']} is champion, and its tags {ENVIRONMENT_TAG} and "
            f"{IMAGE_TAG} don't say which image it runs in; declare that version, or move the alias to a declared one"
        )
    return {
        "version": str(number),
        "image": image,
        "reference": str(reference),
        "sha256": str(version.get("sha256") or ""),
    }


def model_workloads(models: Any, directory: str, served: Any, platform: Any) -> list[dict[str, Any]]:
    """The workloads that serve the models' versions.

    ``served``: the name of a model to its version in the registry: version, image, and sha256 where it is known.
    ``platform``: the fields of Platform. A model that isn't in ``served`` has no workload.
    """
    found: list[dict[str, Any]] = []
    for one in _sound(models, directory):
        if one.spec.name in served:
            champion = served[one.spec.name]
            version = ModelVersion(str(champion["version"]), champion["image"], champion.get("sha256") or "", CHAMPION)
            found += workloads(one.spec, [version], Platform(**platform))
    return found


def model_summary(models: Any, directory: str, platform: str, address: str) -> list[dict[str, Any]]:
    """For each model its prediction URL and a curl line with a row that it answers.

    The row is the declaration's example, or the input example that MLflow keeps with a local source.
    """
    summary = []
    for one in _sound(models, directory):
        url = f"{address.rstrip('/')}{prediction_path(platform, one.spec.name)}/api/v1.0/predictions"
        example = _example(one)
        summary.append(
            {
                "name": one.spec.name,
                "workload": workload_name(one.spec.name),
                "url": url,
                "data": example,
                "curl": _curl(url, example) if example else "",
            }
        )
    return summary


def _example(one: Declared) -> dict[str, Any]:
    """A Seldon request's ``data``: names and one row."""
    if one.spec.example and one.spec.example.rows:
        names, rows = list(one.spec.example.names), [list(one.spec.example.rows[0])]
        return {"names": names, "ndarray": rows} if names else {"ndarray": rows}
    if not one.spec.source or not one.spec.source.path:
        return {}
    file = resolve(one.directory, one.spec.source.path) / "input_example.json"
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    # MLflow writes a table as {"columns", "data"}, an array as a list of rows.
    if isinstance(kept, Mapping) and isinstance(kept.get("data"), list) and kept["data"]:
        return {"names": list(kept.get("columns") or []), "ndarray": kept["data"][:1]}
    if isinstance(kept, list) and kept and isinstance(kept[0], list):
        return {"ndarray": kept[:1]}
    return {}


def _curl(url: str, data: Mapping[str, Any]) -> str:
    body = json.dumps({"data": data}, separators=(",", ":"), ensure_ascii=False)
    return f"curl -s {shlex.quote(url)} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


class FilterModule:
    """Filters about models."""

    def filters(self) -> dict[str, Any]:
        return {
            "model_images": model_images,
            "model_plan": model_plan,
            "model_problems": model_problems,
            "model_served": model_served,
            "model_summary": model_summary,
            "model_workloads": model_workloads,
        }
