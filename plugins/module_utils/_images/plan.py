# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images are there, which have to be made, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .errors import ImagesError
from .recipe import Table
from .reference import Reference


@dataclass(frozen=True)
class Item:
    """One image of the site: where its reference comes from, and how it is made if it isn't there."""

    name: str
    how: str
    """build (from the recipe) or pull (from upstream, with a layer of ours where Dockerfile.pull says so)."""
    repository: str
    key: str
    """Tag in the site's registry. Of a pulled image it is known only once upstream's digest is."""
    version: str
    licence: str
    evaluation: bool
    upstream: str | None = None
    upstream_digest: str | None = None

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.key}"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "reference": self.reference}


def pull_key(upstream_digest: str, adapted: str) -> str:
    """Tag of a pulled image: upstream's digest and the key of our layer on it."""
    return "-".join(filter(None, ("pull", upstream_digest.removeprefix("sha256:")[:16], adapted)))


def items(
    table: Table,
    names: Iterable[str],
    *,
    address: str,
    source: str,
    digests: Mapping[str, str],
    mirror: str = "",
) -> list[Item]:
    """The given images in the given order. *source*: pull or build; *digests*: what the lock file holds, by reference.

    *mirror* takes the place of upstream's registry in references.
    """
    result = []
    for name in names:
        recipe = table.recipe(name)
        repository = f"{address}/{name}"
        pulled = recipe.pull is not None and (source == "pull" or recipe.context is None)
        if not pulled:
            key, upstream, digest = table.key(name), None, None
        else:
            parsed = Reference.parse(recipe.pull or "")
            digest = parsed.digest or digests.get(recipe.pull or "")
            key = pull_key(digest, table.upstream_key(name)) if digest else ""
            upstream = str(Reference(mirror or parsed.registry, parsed.repository, parsed.tag))
        result.append(
            Item(
                name=name,
                how="pull" if pulled else "build",
                repository=repository,
                key=key,
                version=recipe.version,
                licence=recipe.licence,
                evaluation=recipe.evaluation and not pulled,
                upstream=upstream,
                upstream_digest=digest,
            )
        )
    return result


def refuse_evaluation(wanted: Iterable[Item], allowed: bool) -> None:
    refused = [item.name for item in wanted if item.evaluation]
    if refused and not allowed:
        raise ImagesError(
            f"the recipes of {', '.join(refused)} are for evaluation only (see images/README.md): "
            "set mlops_images_source to pull, or mlops_images_allow_evaluation to true"
        )


def unbuildable(names: Iterable[str], registries: Iterable[str]) -> str:
    """What to do about images without a recipe, where the registries that have them don't answer."""
    names = list(names)
    return (
        f"{', '.join(names)} can't be built, only pulled, and {', '.join(registries)} doesn't answer the build host: "
        f"name a registry that has it (images_overrides: {{{names[0]}: {{pull: registry.example.org/path:version}}}}, "
        "or images_pull_mirror), or leave out what needs it"
    )


def missing(
    table: Table, wanted: Iterable[str], known: Iterable[Item], present: Mapping[str, str | None], *, rebuild: bool
) -> list[Item]:
    """What to make, bases first: a base only where something that is built from it is missing.

    *known*: the wanted images and all their bases; *present*: reference -> digest where the registry has it.
    """
    by_name = {item.name: item for item in known}
    made: dict[str, Item] = {}

    def need(name: str) -> None:
        item = by_name[name]
        if name in made or (not rebuild and present.get(item.reference)):
            return
        if item.how == "build":
            for base in table.recipe(name).bases:
                if base in by_name:
                    need(base)
        made[name] = item

    for name in wanted:
        need(name)
    return list(made.values())
