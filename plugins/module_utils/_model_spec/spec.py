# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A model's declaration: what stands in ``mlops_models`` and what the registry keeps as ``mlops.spec``.

What is written and what is kept have one shape. The registry's copy leaves out what only the control host can
read (paths of sources, data sets, locks and code); see :meth:`ModelSpec.to_tag`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .drift import Drift, Records, read_drift, read_records
from .reading import InvalidModel, Node, Scalar
from .retraining import Retraining, read_retraining

#: MLflow's registry tags are VARCHAR(5000) in PostgreSQL.
MAX_TAG_LENGTH = 5000
TAG = "mlops.spec"
SCHEMA = 1
RUNTIMES = ("mlops", "seldon_core")
METHODS = ("predict", "predict_proba")
#: ``model-<name>--b`` has to fit into the 40 characters of a workload's name.
MAX_NAME_LENGTH = 30
#: Two hyphens in a row divide a model's name from the role that a version plays.
NAME_PATTERN = r"[a-z0-9](?:[a-z0-9]|-(?!-))*(?<!-)"

_CLASS_PATTERN = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_ENV_PATTERN = r"[A-Za-z_][A-Za-z0-9_]*"
_LABEL_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?"
_MEMORY_PATTERN = r"[1-9][0-9]*(?:Ki|Mi|Gi|Ti)"
_MEMORY_UNITS = {"Ki": 1, "Mi": 1 << 10, "Gi": 1 << 20, "Ti": 1 << 30}
#: The platform sets these itself; a declaration that set them too would break the model in silence.
_RESERVED_ENV = re.compile(
    r"MLOPS_.*|MLFLOW_TRACKING_.*|PREDICTIVE_UNIT_.*|MODEL_NAME|SERVICE_TYPE|PERSISTENCE|SELDON_DEPLOYMENT_ID|PREDICTOR_ID|PREDICTOR_LABELS"
)
_CONTEXTS = ("train", "validation", "test", "reference", "calibration")


@dataclass(frozen=True, slots=True)
class Prepare:
    """A command on the control host that makes the source (and the data sets), as a rule of make does."""

    command: tuple[str, ...]
    requirements: str = ""
    inputs: tuple[str, ...] = ()
    timeout: int = 1800


@dataclass(frozen=True, slots=True)
class Source:
    """Where the version comes from: one of a local MLflow model directory, an artefact URI, a run's artefact."""

    path: str = ""
    uri: str = ""
    run_id: str = ""
    run_path: str = "model"
    prepare: Prepare | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    name: str
    path: str
    context: str = "train"


@dataclass(frozen=True, slots=True)
class ModelClass:
    """A class of the user's own, with the directory that its module is in."""

    name: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Amount:
    cpu: float
    memory: str
    gpu: int = 0


@dataclass(frozen=True, slots=True)
class Resources:
    requests: Amount = Amount(0.1, "192Mi")
    limits: Amount = Amount(2.0, "1Gi")


@dataclass(frozen=True, slots=True)
class Batching:
    """Requests that wait together for one call of the model: at most so many rows, at most so many milliseconds."""

    max_rows: int = 64
    wait_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Placement:
    labels: Mapping[str, str] = field(default_factory=dict)
    spread: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """Rows that the model answers, for the curl line that the site prints."""

    names: tuple[str, ...]
    rows: tuple[tuple[Scalar | None, ...], ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    name: str
    description: str = ""
    source: Source | None = None
    datasets: tuple[Dataset, ...] = ()
    metrics: str = ""
    requirements: str = ""
    python: str = ""
    runtime: str = "mlops"
    model_class: ModelClass | None = None
    method: str = "predict"
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    replicas: int = 1
    resources: Resources = Resources()
    batching: Batching | None = None
    placement: Placement = Placement()
    env: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    promote: str = "first"
    example: Example | None = None
    drift: Drift | None = None
    records: Records | None = None
    """What is logged of its predictions; None where nothing is. Whoever is watched is logged."""
    retraining: Retraining | None = None

    def to_tag(self) -> str:
        """The registry's copy: compact JSON, without defaults and without the control host's paths; stable."""
        kept: dict[str, object] = {"schema": SCHEMA, "name": self.name}
        if self.description:
            kept["description"] = self.description
        if self.python:
            kept["python"] = self.python
        if self.runtime != "mlops":
            kept["runtime"] = self.runtime
        if self.model_class:
            kept["class"] = {"name": self.model_class.name}
        if self.method != "predict":
            kept["method"] = self.method
        if self.parameters:
            kept["parameters"] = dict(self.parameters)
        if self.replicas != 1:
            kept["replicas"] = self.replicas
        if self.resources != Resources():
            kept["resources"] = {
                "requests": _amount_dict(self.resources.requests),
                "limits": _amount_dict(self.resources.limits),
            }
        if self.batching:
            kept["batching"] = {"max_rows": self.batching.max_rows, "wait_ms": self.batching.wait_ms}
        if self.placement.labels or self.placement.spread:
            kept["placement"] = {
                **({"labels": dict(self.placement.labels)} if self.placement.labels else {}),
                **({"spread": self.placement.spread} if self.placement.spread else {}),
            }
        if self.env:
            kept["env"] = dict(self.env)
        if self.tags:
            kept["tags"] = dict(self.tags)
        if self.promote != "first":
            kept["promote"] = self.promote
        if self.example:
            kept["example"] = {"names": list(self.example.names), "rows": [list(row) for row in self.example.rows]}
        if self.drift:
            kept["drift"] = self.drift.kept()
        if self.records and (not self.drift or self.records != Records()):
            kept["records"] = self.records.kept()
        if self.retraining:
            kept["retraining"] = self.retraining.kept()
        return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def from_tag(tag: str) -> ModelSpec:
    """The spec that the registry keeps. Raises InvalidModel where it is no spec of this schema."""
    try:
        value = json.loads(tag)
    except ValueError as error:
        raise InvalidModel([f"{TAG}: is not JSON: {error}"]) from error
    problems: list[str] = []
    node = Node(value, TAG, problems)
    if node.is_mapping() and node["schema"].integer(0) != SCHEMA:
        problems.append(f"{TAG}: schema {node['schema'].value!r} is not the {SCHEMA} that this release reads")
    spec = _read_model(node, kept=True) if not problems else None
    if problems or spec is None:
        raise InvalidModel(problems)
    return spec


def parse_model(value: object, path: str) -> tuple[ModelSpec | None, list[str]]:
    """One declaration, and what is wrong with it; with problems, the spec isn't for use."""
    problems: list[str] = []
    node = Node(value, path, problems)
    spec = _read_model(node, kept=False) if node.is_mapping() else None
    if spec is not None and not problems:
        length = len(spec.to_tag())
        if length > MAX_TAG_LENGTH:
            node.problem(
                f"is {length} characters long as JSON, and the registry keeps {MAX_TAG_LENGTH}; "
                "shorten description, parameters, env, tags, example, drift or retraining"
            )
    return spec, problems


def parse_models(values: object, variable: str = "mlops_models") -> tuple[list[ModelSpec], list[str]]:
    """All declarations of a list that are sound, and every problem of all of them."""
    problems: list[str] = []
    specs: list[ModelSpec] = []
    items = list(Node(values, variable, problems).items())
    for item in items:
        spec, found = parse_model(item.value, item.path)
        problems.extend(found)
        if spec is not None and not found:
            specs.append(spec)
    return specs, problems + repeated_names((item.path, item.value) for item in items)


def repeated_names(values: Iterable[tuple[str, object]]) -> list[str]:
    """Two models of one name are a problem of the second. Takes declarations with their paths."""
    first: dict[str, str] = {}
    problems = []
    for path, value in values:
        name = value.get("name") if isinstance(value, Mapping) else None
        if not isinstance(name, str):
            continue
        if name in first:
            problems.append(f"{path}.name: {name!r} is the name of {first[name]} too; give each model its own")
        first.setdefault(name, path)
    return problems


def _amount_dict(amount: Amount) -> dict[str, object]:
    return {"cpu": amount.cpu, "memory": amount.memory, **({"gpu": amount.gpu} if amount.gpu else {})}


def _read_model(node: Node, *, kept: bool) -> ModelSpec:
    name_node = node["name"]
    name = ""
    if name_node.required("give the model a name, such as 'phishing'"):
        name = name_node.text(
            pattern=rf"(?=.{{1,{MAX_NAME_LENGTH}}}$){NAME_PATTERN}",
            rule=f"is not DNS-safe: at most {MAX_NAME_LENGTH} lower-case letters, digits and single hyphens, "
            "beginning and ending with a letter or digit",
        )
    runtime = node["runtime"].choice(RUNTIMES, "mlops")
    source = None if kept else _read_source(node["source"])
    drift = read_drift(node["drift"], kept=kept, trained_here=source is not None and bool(source.path))
    model_class = _read_class(node["class"], kept=kept)
    spec = ModelSpec(
        name=name,
        description=node["description"].text(),
        source=source,
        datasets=() if kept else _read_datasets(node["datasets"]),
        metrics="" if kept else node["metrics"].text(),
        requirements="" if kept else _read_requirements(node["requirements"]),
        python=node["python"].text(),
        runtime=runtime,
        model_class=model_class,
        method=node["method"].choice(METHODS, "predict"),
        parameters=node["parameters"].mapping_of(Node.scalar, key_pattern=_ENV_PATTERN, rule="is no parameter's name"),
        replicas=node["replicas"].integer(1, low=0, high=1000),
        resources=_read_resources(node["resources"]),
        batching=_read_batching(node["batching"]),
        placement=_read_placement(node["placement"]),
        env=_read_env(node["env"]),
        tags=node["tags"].mapping_of(
            Node.scalar_text, key_pattern=r"(?!mlops\.)\S.{0,249}", rule="is no tag's name, or the platform's own"
        ),
        promote=node["promote"].choice(("first", "always"), "first"),
        example=_read_example(node["example"]),
        drift=drift,
        records=read_records(node["records"]) or (Records() if drift else None),
        retraining=read_retraining(node["retraining"], drift, kept=kept),
    )
    if model_class and node["method"].given:
        node["method"].problem("is for models without a class of their own; a class decides itself what it calls")
    if runtime == "seldon_core" and spec.batching:
        node["batching"].problem("Seldon's own server doesn't batch; take it away, or set runtime to mlops")
    if runtime == "seldon_core" and spec.records:
        logged = "drift" if drift else "records"
        node[logged].problem("Seldon's own server logs no predictions; take it away, or set runtime to mlops")
    if kept:
        node["schema"]
    node.close()
    return spec


def _read_requirements(node: Node) -> str:
    node.required("name the lock file of what the model needs to run, with hashes (uv pip compile --generate-hashes)")
    return node.text()


def _read_source(node: Node) -> Source | None:
    if (
        not node.required("set source.path (a local MLflow model directory), source.uri or source.run")
        or not node.is_mapping()
    ):
        return None
    given = [key for key in ("path", "uri", "run") if node[key].given]
    if len(given) != 1:
        node.problem("needs exactly one of path, uri and run" + (f", and has {' and '.join(given)}" if given else ""))
    run = node["run"]
    run_id, run_path = "", "model"
    if run.given and run.is_mapping():
        if run["id"].required("name the MLflow run"):
            run_id = run["id"].text(pattern=r"[0-9a-zA-Z_-]{1,64}", rule="is not the id of an MLflow run")
        run_path = run["path"].text("model")
        run.close()
    uri = node["uri"].text(
        pattern=r"[a-z][a-z0-9+.-]*:.+", rule="is not a URI, such as runs:/<run id>/model or s3://bucket/model"
    )
    prepare = _read_prepare(node["prepare"])
    if prepare and node["uri"].given | run.given:
        node["prepare"].problem("makes a local path; it goes with source.path only")
    node.close()
    return Source(node["path"].text(), uri, run_id, run_path, prepare)


def _read_prepare(node: Node) -> Prepare | None:
    if not node.given or not node.is_mapping():
        return None
    node["command"].required("give the command as a list, such as [python, train.py]")
    command = node["command"].texts()
    if node["command"].given and not command and not isinstance(node["command"].value, str):
        node["command"].problem("is empty; give the command as a list, such as [python, train.py]")
    prepare = Prepare(
        command=command,
        requirements=node["requirements"].text(),
        inputs=node["inputs"].texts(),
        timeout=node["timeout"].integer(1800, low=1, high=86400),
    )
    node.close()
    return prepare


def _read_datasets(node: Node) -> tuple[Dataset, ...]:
    found: list[Dataset] = []
    for item in node.items():
        if not item.is_mapping():
            continue
        name = ""
        if item["name"].required("name the data set, such as 'train'"):
            name = item["name"].text(
                pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", rule="is no data set's name: letters, digits, '.', '_', '-'"
            )
        item["path"].required("name the file")
        if name and any(other.name == name for other in found):
            item["name"].problem(f"{name!r} is the name of another data set of this model")
        found.append(Dataset(name, item["path"].text(), item["context"].choice(_CONTEXTS, "train")))
        item.close()
    return tuple(found)


def _read_class(node: Node, *, kept: bool) -> ModelClass | None:
    if not node.given or not node.is_mapping():
        return None
    name = ""
    if node["name"].required("name the class, such as 'Fraud' or 'fraud.model.Fraud'"):
        name = node["name"].text(pattern=_CLASS_PATTERN, rule="is not the name of a Python class")
    code = ""
    if not kept:
        node["code"].required("name the directory that the class's module is in")
        code = node["code"].text()
    node.close()
    return ModelClass(name, code)


def _read_resources(node: Node) -> Resources:
    default = Resources()
    if not node.given or not node.is_mapping():
        return default
    requests = _read_amount(node["requests"], default.requests)
    limits = _read_amount(node["limits"], default.limits)
    node.close()
    # A request of the user's own above the default limit raises that limit: he said what he needs.
    if not node["limits"]["cpu"].given and requests.cpu > limits.cpu:
        limits = Amount(requests.cpu, limits.memory, limits.gpu)
    if not node["limits"]["memory"].given and _kibibytes(requests.memory) > _kibibytes(limits.memory):
        limits = Amount(limits.cpu, requests.memory, limits.gpu)
    if not node["requests"]["cpu"].given and requests.cpu > limits.cpu:
        requests = Amount(limits.cpu, requests.memory, requests.gpu)
    if not node["requests"]["memory"].given and _kibibytes(requests.memory) > _kibibytes(limits.memory):
        requests = Amount(requests.cpu, limits.memory, requests.gpu)
    if requests.cpu > limits.cpu:
        node.problem(f"requests.cpu {requests.cpu:g} is above limits.cpu {limits.cpu:g}")
    if _kibibytes(requests.memory) > _kibibytes(limits.memory):
        node.problem(f"requests.memory {requests.memory} is above limits.memory {limits.memory}")
    gpu = requests.gpu or limits.gpu
    if requests.gpu and limits.gpu and requests.gpu != limits.gpu:
        node.problem("requests.gpu and limits.gpu differ; a GPU isn't shared, so set one of them")
    return Resources(Amount(requests.cpu, requests.memory, gpu), Amount(limits.cpu, limits.memory, gpu))


def _read_amount(node: Node, default: Amount) -> Amount:
    if not node.given or not node.is_mapping():
        return default
    amount = Amount(
        cpu=node["cpu"].number(default.cpu, low=0.01, high=1024),
        memory=node["memory"].text(
            default.memory, pattern=_MEMORY_PATTERN, rule="is not an amount of memory such as 512Mi or 2Gi"
        ),
        gpu=node["gpu"].integer(0, low=0, high=64),
    )
    node.close()
    return amount


def _kibibytes(memory: str) -> int:
    return int(memory[:-2]) * _MEMORY_UNITS[memory[-2:]]


def _read_batching(node: Node) -> Batching | None:
    if not node.given or not node.is_mapping():
        return None
    batching = Batching(
        max_rows=node["max_rows"].integer(64, low=1, high=100_000),
        wait_ms=node["wait_ms"].number(0.0, low=0.0, high=1000.0),
    )
    node.close()
    return batching


def _read_placement(node: Node) -> Placement:
    if not node.given or not node.is_mapping():
        return Placement()
    labels = node["labels"].mapping_of(
        Node.scalar_text, key_pattern=_LABEL_PATTERN, rule="is not the name of a node's label"
    )
    placement = Placement(labels, node["spread"].choice(("node",), ""))
    node.close()
    return placement


def _read_env(node: Node) -> dict[str, str]:
    env = node.mapping_of(Node.scalar_text, key_pattern=_ENV_PATTERN, rule="is not the name of an environment variable")
    for key in env:
        if _RESERVED_ENV.fullmatch(key):
            node[key].problem("is set by the platform; take it away")
    return env


def _read_example(node: Node) -> Example | None:
    if not node.given or not node.is_mapping():
        return None
    names = node["names"].texts()
    rows: list[tuple[Scalar | None, ...]] = []
    node["rows"].required("give at least one row")
    for row in node["rows"].items():
        values = tuple(cell.scalar() if cell.given else None for cell in row.items())
        if names and len(values) != len(names):
            row.problem(f"has {len(values)} values, and names has {len(names)}")
        rows.append(values)
    node.close()
    return Example(names, tuple(rows))
