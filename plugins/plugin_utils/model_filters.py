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
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import (
    TAG,
    Broker,
    ModelVersion,
    Platform,
    alert_rules,
    artefact_problems,
    deployment_name,
    image_files,
    image_name,
    local_problems,
    lock_digest,
    prediction_path,
    preparation,
    read_metrics,
    resolve,
    seconds,
    workload_name,
    workloads,
)
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec.flow_code import BadArchive, flow_parameters
from ansible_collections.mlops.onprem.plugins.plugin_utils.models import (
    VARIABLE,
    Declared,
    read_models,
    signature_features,
    sound_models,
)

CHAMPION = "champion"
TOPICS_JOB = "topics-of-models"
# What a flow can have parameters for; started by a schedule it is given the model alone.
GIVEN = ("model", "version", "episode")
# Tags of a model version: the environment that it runs in, by its name in the artefact table and as the image of it.
ENVIRONMENT_TAG = "mlops.environment"
IMAGE_TAG = "mlops.image"
# Of a version whose image is yet to be made: what of, and why it can't be.
IMAGE_FROM_TAG = "mlops.image.from"
IMAGE_PROBLEM_TAG = "mlops.image.problem"


def model_problems(models: Any, directory: str, components: Any = None) -> list[str]:
    """All that is wrong with the declarations and with what they name on the control host.

    ``components``: those that are installed, where they are a choice; a model that needs others is a problem.
    """
    declared, problems = read_models(models, directory)
    for one in declared:
        found = local_problems(one.spec, one.directory, one.path)
        problems += found or _artefact_problems(one)
        problems += _flow_problems(one)
        problems += _unserved(one, components) if components else []
    return problems


def _unserved(one: Declared, components: Sequence[str]) -> list[str]:
    """What the declaration asks for and no component does."""
    needed = {"drift": ["kafka", "drift_detector"]} if one.spec.drift else {}
    if one.spec.records and not one.spec.drift:
        needed = {"records": ["kafka"]}
    unheard = [
        f"{one.path}.retraining: needs the lifecycle controller; take mlops_loop: false away, add lifecycle to "
        "mlops_components, or take retraining away"
    ]
    return (unheard if one.spec.retraining and "lifecycle" not in components else []) + [
        f"{one.path}.{key}: needs {' and '.join(missing)}; add {'it' if len(missing) == 1 else 'them'} to "
        f"mlops_components, or take {key} away"
        for key, names in needed.items()
        if (missing := [name for name in names if name not in components])
    ]


def _flow_problems(one: Declared) -> list[str]:
    """Why the flow that retrains it isn't one that could be started."""
    if one.spec.retraining is None or not one.spec.retraining.flow:
        return []
    where = f"{one.path}.retraining.flow"
    file, function = one.spec.retraining.flow.rsplit(":", 1)
    try:
        taken = flow_parameters(resolve(one.directory, file), function)
    except BadArchive as error:
        return [f"{where}: {error}"]
    unknown = [name for name, needed in taken.items() if needed and name not in GIVEN]
    told = f"{where}: {function} needs {', '.join(unknown)}; give them defaults: it is given {', '.join(GIVEN)}"
    return [told] if unknown else []


def _artefact_problems(one: Declared) -> list[str]:
    return artefact_problems(one.spec, one.directory, one.path, signature_features(one))


def model_plan(models: Any, directory: str) -> list[dict[str, Any]]:
    """What to prepare and to register, with the control host's paths in full."""
    return [_plan(one) for one in sound_models(models, directory)]


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
        "requirements": lock_digest(resolve(one.directory, spec.requirements).read_text(encoding="utf-8")),
        "source": {
            "path": str(resolve(one.directory, source.path)) if source.path else "",
            "uri": source.uri,
            "run_id": source.run_id,
            "run_path": source.run_path,
        },
        "drift": _fitted(one),
        "flow": _flow(one),
        "ready": all(resolve(one.directory, made).exists() for made in (source.path, _artefact(one)) if made),
        "datasets": [
            {"name": dataset.name, "path": str(resolve(one.directory, dataset.path)), "context": dataset.context}
            for dataset in spec.datasets
        ],
        "metrics": _metrics(one),
        "prepare": {}
        if prepare is None
        else {
            **asdict(prepare),
            "command": list(prepare.command),
            "environment": dict(prepare.environment),
            "outputs": list(prepare.outputs),
        },
    }


def _artefact(one: Declared) -> str:
    return one.spec.drift.artefact if one.spec.drift else ""


def _fitted(one: Declared) -> str:
    """The directory of the fitted detectors; empty where there is none yet. Training may just have made others."""
    made = _artefact(one)
    if made and resolve(one.directory, made).exists() and (problems := _artefact_problems(one)):
        raise AnsibleFilterError("\n".join(problems))
    return str(resolve(one.directory, made)) if made else ""


def _metrics(one: Declared) -> dict[str, float]:
    try:
        return dict(read_metrics(one.spec, one.directory))
    except ValueError as error:
        raise AnsibleFilterError(f"{one.path}.metrics: {error}") from error


def _flow(one: Declared) -> dict[str, Any]:
    """The flow that retrains the model and its deployment; empty where nothing is ever started."""
    retraining = one.spec.retraining
    if retraining is None or not retraining.flow:
        return {}
    file, function = retraining.flow.rsplit(":", 1)
    path = resolve(one.directory, file)
    source = one.spec.source.path if one.spec.source else ""
    made = [source, f"{source}.prepared" if source else "", one.spec.metrics, _artefact(one)]
    made += [dataset.path for dataset in one.spec.datasets]
    inside = [resolve(one.directory, place) for place in made if place]
    schedule = retraining.schedule
    return {
        "name": deployment_name(one.spec.name),
        "function": function,
        "flow": f"{path}:{function}",
        # What training makes is no code.
        "exclude": sorted(str(place.relative_to(path.parent)) for place in inside if place.is_relative_to(path.parent)),
        "schedules": [_schedule(schedule)] if schedule else [],
    }


def model_deployments(codes: Any) -> list[dict[str, Any]]:
    """The deployments that retrain the models. ``codes``: results of a loop over the plan with pipeline_code.

    A flow that takes the parameter ``model`` is given it; the lifecycle controller gives ``version`` and ``episode``.
    """
    found = []
    for code in codes:
        model, flow, taken = code["item"]["name"], code["item"]["flow"], code["parameters"]
        pull = {"mlops_runtime.pipelines.code.pull": {"model": model, "version": code["version"]}}
        properties = {name: {"title": name} for name in taken}
        found.append(
            {
                "name": flow["name"],
                "flow": flow["function"],
                "description": f"Retrains {model}. Made by mlops.onprem of its declaration.",
                "version": code["version"][:16],
                "entrypoint": code["entrypoint"],
                "pull_steps": [pull],
                "parameters": {"model": model} if "model" in taken else {},
                "parameter_openapi_schema": {"type": "object", "properties": properties},
                "schedules": flow["schedules"],
            }
        )
    return found


def _schedule(schedule: Any) -> dict[str, Any]:
    rule = {"interval": seconds(schedule.interval)} if schedule.interval else {"cron": schedule.cron}
    return {"slug": "declared", **rule, **({"timezone": schedule.timezone} if schedule.timezone else {})}


def model_images(models: Any, directory: str, artifacts: Any) -> dict[str, dict[str, Any]]:
    """Rows of the artefact table for the images that the declared models run in; equal environments are one image."""
    images: dict[str, dict[str, Any]] = {}
    for one in sound_models(models, directory):
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


def model_unbuilt(versions: Any) -> list[str]:
    """Those of ``versions``, as the info module has them, whose image is being made: ``<name> <version>``."""
    return [
        f"{one['name']} {one['version']}"
        for one in versions or []
        if (tags := one["tags"] or {}).get(IMAGE_FROM_TAG)
        if not tags.get(IMAGE_TAG) and not tags.get(IMAGE_PROBLEM_TAG)
    ]


def model_undeclared(registered: Any, plan: Any) -> list[str]:
    """Names of registered models with a declaration that are not (any more) in the plan."""
    names = {one["name"] for one in plan or []}
    return [one["name"] for one in registered or [] if one["tags"].get(TAG) and one["name"] not in names]


def model_lagging(plan: Any, served: Any, models: Any) -> list[str]:
    """What the lifecycle controller hasn't made so yet, a line a model: its declaration, or its champion.

    ``plan`` and ``served`` are those of the filters model_plan and model_served, ``models`` is the controller's answer.
    """
    known = {model["model"]: model for model in models}
    return [
        f"{one['name']}: {problem}"
        for one in plan
        if one["name"] in served
        if (problem := _lag(one["spec"], served[one["name"]]["version"], known.get(one["name"])))
    ]


def _lag(spec: Any, version: str, model: Mapping[str, Any] | None) -> str:
    if model is None:
        return "the controller doesn't know it yet"
    if model["problem"]:
        return str(model["problem"])
    champion = (model["aliases"].get(CHAMPION) or {}).get("version", "none")
    if model["spec"] != spec or champion != version:
        return f"the controller knows another declaration, or version {champion} in the place of {version}"
    if not model["followed"]:
        return f"version {version} should serve; now it is {model['serves'].get(CHAMPION, 'none')}"
    return ""


def _version(version: Mapping[str, Any], references: Mapping[str, Any]) -> dict[str, str]:
    # In check mode the number of a version that has yet to be made isn't known.
    number = version.get("version") or "new"
    tags = version["tags"] or {}
    image = str(tags.get(ENVIRONMENT_TAG, ""))
    reference = references.get(image) or tags.get(IMAGE_TAG, "")
    if not reference and tags.get(IMAGE_FROM_TAG):
        raise AnsibleFilterError(
            f"{VARIABLE}: version {number} of {version['name']} is champion, and its lock has no image: "
            f"{tags.get(IMAGE_PROBLEM_TAG) or 'the image builder has not made it'}; declare the model with that lock, "
            "or move the alias to another version"
        )
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
    ``platform``: the fields of Platform; ``broker`` is the slot's contract, empty where there is none. A model that
    isn't in ``served`` has no workload.
    """
    broker = Broker.of(platform["broker"]) if platform.get("broker") else None
    place = Platform(**{**platform, "broker": broker})
    found: list[dict[str, Any]] = []
    for one in sound_models(models, directory):
        if one.spec.name in served:
            champion = served[one.spec.name]
            version = ModelVersion(str(champion["version"]), champion["image"], champion.get("sha256") or "", CHAMPION)
            found += workloads(one.spec, [version], place)
    return found


def model_topics(models: Any, directory: str, broker: Any) -> list[dict[str, Any]]:
    """The job that makes the topics of the models that are logged; none where nobody is to make any.

    Labels have as many partitions as records, so that who reads one partition of both has what belongs together. A
    topic of a model that is no longer declared stays, with what is in it.
    """
    topics: list[dict[str, Any]] = []
    for one in sound_models(models, directory):
        records = one.spec.records
        if records is None or not broker:
            continue
        kept = {"retention": records.retention} if records.retention else {}
        name = f"{broker['prefix']}{one.spec.name}"
        topics += [{"name": topic, "partitions": records.partitions, **kept} for topic in (name, f"{name}.labels")]
        topics.append({"name": f"{name}.dead", "partitions": 1, **kept})
    if not topics or not broker["job"]:
        return []
    env = {**broker["job"].get("env", {}), "MLOPS_TOPICS": json.dumps(topics, sort_keys=True)}
    return [{**broker["job"], "name": TOPICS_JOB, "zone": "stream", "env": env}]


def model_alert_groups(models: Any, directory: str) -> list[dict[str, Any]]:
    """Groups of alert rules, as below "groups" in Prometheus's rule files: one for each model that alerts retrain."""
    found = ((one.spec.name, alert_rules(one.spec)) for one in sound_models(models, directory))
    return [{"name": f"retraining of {name}", "rules": rules} for name, rules in found if rules]


def model_summary(models: Any, directory: str, platform: str, address: str, ca: str = "") -> list[dict[str, Any]]:
    """For each model its prediction URL and a curl line with a row that it answers.

    The row is the declaration's example, or the input example that MLflow keeps with a local source. ``ca`` is the path
    of the authorities that curl is to trust in the place of the system's.
    """
    summary = []
    for one in sound_models(models, directory):
        url = f"{address.rstrip('/')}{prediction_path(platform, one.spec.name)}/api/v1.0/predictions"
        example = _example(one)
        summary.append(
            {
                "name": one.spec.name,
                "workload": workload_name(one.spec.name),
                "url": url,
                "data": example,
                "curl": _curl(url, example, ca) if example else "",
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


def _curl(url: str, data: Mapping[str, Any], ca: str) -> str:
    body = json.dumps({"data": data}, separators=(",", ":"), ensure_ascii=False)
    trust = f" --cacert {shlex.quote(ca)}" if ca else ""
    return f"curl -s{trust} {shlex.quote(url)} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
