# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What should serve: a pure function of the registry, and of what served last where that can't be used.

A declaration that can't be read, or a version without an image, takes nothing away from who is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from _model_spec import ModelVersion, Platform, from_tag, workloads
from _workload import override

from mlops_runtime.lifecycle.ledger.models import ALIASES, CHAMPION, Model, problem_of


@dataclass(frozen=True)
class Version:
    """A model version and what it runs in: an image's name, and its reference by digest."""

    version: str
    image: str
    reference: str
    sha256: str = ""
    episode: str = ""
    """What the run that made it was for; empty where it was declared."""


@dataclass(frozen=True)
class Plan:
    """One model: a sound declaration, and the version in each role."""

    spec: str
    roles: Mapping[str, Version] = field(default_factory=dict)


@dataclass(frozen=True)
class Desired:
    """All models that are to serve, and what the registry asks for in vain: model -> reasons."""

    plans: Mapping[str, Plan]
    problems: Mapping[str, tuple[str, ...]]


def desired(
    models: Mapping[str, Model], versions: Mapping[tuple[str, str], Version | str], last: Mapping[str, Plan]
) -> Desired:
    """`versions`: what each aliased version runs in, or why it can't run. `last`: what was healthy last.

    A model without a champion isn't served, and neither is one that is no longer registered.
    """
    plans: dict[str, Plan] = {}
    problems: dict[str, tuple[str, ...]] = {}
    for name, model in models.items():
        before = last.get(name)
        found = [problem] if (problem := problem_of(model.spec)) else []
        spec = model.spec if not found else before.spec if before else ""
        roles: dict[str, Version] = {}
        for role in ALIASES:
            if role not in model.aliases:
                continue
            version = versions.get((name, model.aliases[role]), "nothing is known of it yet")
            if isinstance(version, str):
                found.append(f"{role}: version {model.aliases[role]} is held: {version}")
                if before and role in before.roles:
                    roles[role] = before.roles[role]
            else:
                roles[role] = version
        if spec and CHAMPION in roles:
            plans[name] = Plan(spec, roles)
        if found:
            problems[name] = tuple(found)
    return Desired(plans, problems)


def documents(
    plans: Mapping[str, Plan], platform: Platform, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The workload set that the agent takes: workloads, and the images that they name.

    `overrides`: workload name -> part of a workload, merged over it where there is one of that name.
    """
    made: list[Mapping[str, Any]] = []
    images: dict[str, str] = {}
    for _, plan in sorted(plans.items()):
        placed = []
        for role, version in plan.roles.items():
            image = version.image
            if images.setdefault(image, version.reference) != version.reference:
                # Two builds of one environment serve at once.
                image = f"{image}-{version.reference[-8:]}"
                images[image] = version.reference
            placed.append(ModelVersion(version.version, image, version.sha256, role))
        made += workloads(from_tag(plan.spec), placed, platform)
    bent = {str(one["name"]) for one in made} & (overrides or {}).keys()
    return {"workloads": override(made, {name: (overrides or {})[name] for name in bent}), "images": images}
