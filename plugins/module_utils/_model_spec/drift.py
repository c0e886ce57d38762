# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a declaration says of the prediction stream: what is logged of a model, and how it is watched for drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .reading import Node, Scalar

#: Kinds that ``mlops_runtime.drift.registry`` knows; Alibi Detect's are named ``alibi:<its name>``.
KINDS = ("ewma", "rff", "ks", "cvm", "chi2", "tabular", "psi", "domain_classifier")
ALIBI = "alibi:"

_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_PARAMETER_PATTERN = r"[A-Za-z_][A-Za-z0-9_]*"
#: Of a topic, as the broker's role takes it; of the archive, which begins where a topic's ends.
_RETENTION_PATTERN = r"[1-9][0-9]*[mhd]|forever"
_ARCHIVE_PATTERN = r"[1-9][0-9]{0,5}[hdwy]"


@dataclass(frozen=True, slots=True)
class Detector:
    """One that training fits; ``parameters`` are its kind's own."""

    kind: str
    name: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)

    def declared(self) -> str | dict[str, Scalar]:
        """As it stands in a declaration, in the shortest form."""
        named = {"name": self.name} if self.name != default_name(self.kind) else {}
        return {"kind": self.kind, **named, **self.parameters} if named or self.parameters else self.kind


@dataclass(frozen=True, slots=True)
class Archive:
    """The stream, kept as files for retraining and audit; for ever without a retention."""

    retention: str = ""

    def kept(self) -> dict[str, object]:
        return {"retention": self.retention} if self.retention else {}


@dataclass(frozen=True, slots=True)
class Drift:
    """How a model's versions are watched. ``artefact``: the directory on the control host that training wrote."""

    detectors: tuple[Detector, ...] = ()
    artefact: str = ""
    labels: bool = False
    archive: Archive | None = None

    def kept(self) -> dict[str, object]:
        """What the registry keeps of it."""
        return {
            "detectors": [detector.declared() for detector in self.detectors],
            **({"labels": True} if self.labels else {}),
            **({"archive": self.archive.kept()} if self.archive else {}),
        }


@dataclass(frozen=True, slots=True)
class Records:
    """Predictions that the model server logs: which share of them, and the topic that they go to.

    State and calibration are per partition: more than one is for what one can't carry.
    """

    sample: float = 1.0
    partitions: int = 1
    retention: str = ""

    def kept(self) -> dict[str, object]:
        return {
            **({"sample": self.sample} if self.sample != 1.0 else {}),
            **({"partitions": self.partitions} if self.partitions != 1 else {}),
            **({"retention": self.retention} if self.retention else {}),
        }


def default_name(kind: str) -> str:
    return kind.replace(":", "-")


def read_drift(node: Node, *, kept: bool, trained_here: bool) -> Drift | None:
    """``trained_here``: the version comes from a directory, so that its detectors have to come from one as well."""
    if not node.given or not node.is_mapping():
        return None
    detectors: tuple[Detector, ...] = ()
    if node["detectors"].required("name what watches the model, such as [ewma]"):
        detectors = _read_detectors(node["detectors"])
    artefact = ""
    if not kept:
        if trained_here:
            node["artefact"].required("name the directory that training wrote the fitted detectors to (docs/drift.md)")
        elif node["artefact"].given:
            node["artefact"].problem("goes with source.path; a run that is in MLflow already has them at drift/")
        artefact = node["artefact"].text()
    drift = Drift(detectors, artefact, node["labels"].boolean(False), _read_archive(node["archive"]))
    node.close()
    return drift


def _read_detectors(node: Node) -> tuple[Detector, ...]:
    found: list[Detector] = []
    before = len(node.problems)
    for item in node.items():
        detector = _read_detector(item)
        if detector is None:
            continue
        if any(other.name == detector.name for other in found):
            item.problem(f"{detector.name!r} is the name of another detector of this model; give each its own name")
        found.append(detector)
    if not found and len(node.problems) == before:
        node.problem("is empty; name what watches the model, such as [ewma]")
    return tuple(found)


def _read_detector(node: Node) -> Detector | None:
    """A kind alone, or a mapping of it with parameters."""
    if isinstance(node.value, str):
        kind = _read_kind(node)
        return Detector(kind, default_name(kind)) if kind else None
    if not node.is_mapping():
        return None
    kind = _read_kind(node["kind"]) if node["kind"].required("name the kind, such as ewma") else ""
    name = node["name"].text(
        default_name(kind), pattern=_NAME_PATTERN, rule="is no detector's name: letters, digits, '.', '_', '-'"
    )
    parameters = _read_parameters(node)
    return Detector(kind, name, parameters) if kind else None


def _read_parameters(node: Node) -> dict[str, Scalar]:
    given = node.value if isinstance(node.value, Mapping) else {}
    values = {key: value for key, value in given.items() if key not in ("kind", "name")}
    parameters: dict[str, Scalar] = Node(values, node.path, node.problems).mapping_of(
        Node.scalar, key_pattern=_PARAMETER_PATTERN, rule="is no parameter's name"
    )
    if "expected_run_time" in parameters:
        node["expected_run_time"].integer(0, low=10, high=1_000_000_000)
    return parameters


def _read_kind(node: Node) -> str:
    if isinstance(node.value, str) and node.value.startswith(ALIBI):
        return node.text(pattern=rf"{ALIBI}[a-z0-9_]+", rule="names no detector of Alibi Detect, such as alibi:mmd")
    return node.choice((*KINDS, f"{ALIBI}<name>"), "")


def _read_archive(node: Node) -> Archive | None:
    if not node.given or not node.is_mapping():
        return None
    rule = "is no time such as 12h, 30d, 8w or 2y; leave it out to keep the stream for ever"
    archive = Archive(node["retention"].text(pattern=_ARCHIVE_PATTERN, rule=rule))
    node.close()
    return archive


def read_records(node: Node) -> Records | None:
    if not node.given or not node.is_mapping():
        return None
    records = Records(
        sample=node["sample"].number(1.0, low=0.0001, high=1.0),
        partitions=node["partitions"].integer(1, low=1, high=1000),
        retention=node["retention"].text(pattern=_RETENTION_PATTERN, rule="is no time such as 12h, 30d or forever"),
    )
    node.close()
    return records
