# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registered models and the metadata of versions: read, compare, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import InputError, RequestError
from .._outcome import Outcome
from .client import MlflowClient, unpaired
from .comparison import (
    ALIASES_TAG,
    DIGEST_TAG,
    SPEC_TAG,
    Changes,
    alias_changes,
    check_alias,
    decided_aliases,
    tag_changes,
)
from .detectors import DRIFT_TAG


@dataclass(frozen=True)
class Metadata:
    """What is wanted of a registered model or of a version; None leaves it as it is."""

    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    purge_tags: bool = False
    enforce_aliases: bool = False


def model_facts(model: Mapping[str, Any]) -> dict[str, Any]:
    """A registered model in the collection's form."""
    latest = [int(one["version"]) for one in model.get("latest_versions") or []]
    return {
        "name": str(model["name"]),
        "description": str(model.get("description") or ""),
        "tags": dict(sorted(unpaired(model.get("tags")).items())),
        "aliases": model_aliases(model),
        "latest_version": max(latest, default=None),
        "created": model.get("creation_timestamp"),
        "updated": model.get("last_updated_timestamp"),
    }


def model_aliases(model: Mapping[str, Any] | None) -> dict[str, str]:
    """Alias to version."""
    return dict(sorted((str(one["alias"]), str(one["version"])) for one in (model or {}).get("aliases") or []))


def version_facts(version: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """A version in the collection's form; ``aliases`` are those of its registered model."""
    tags = unpaired(version.get("tags"))
    name, number, source = str(version["name"]), str(version["version"]), str(version.get("source") or "")
    return {
        "name": name,
        "version": number,
        "uri": f"models:/{name}/{number}",
        "description": str(version.get("description") or ""),
        "tags": dict(sorted(tags.items())),
        "aliases": sorted(alias for alias, held in aliases.items() if held == number),
        "sha256": tags.get(DIGEST_TAG),
        "source": source,
        "run_id": version.get("run_id") or None,
        "model_id": version.get("model_id") or (source.rpartition("/")[2] if source.startswith("models:/m-") else None),
        "status": str(version.get("status") or ""),
        "created": version.get("creation_timestamp"),
        "updated": version.get("last_updated_timestamp"),
    }


def _shown(facts: Mapping[str, Any] | None, keys: tuple[str, ...]) -> dict[str, Any]:
    return {} if facts is None else {key: facts[key] for key in keys}


MODEL_KEYS = ("name", "description", "tags", "aliases")
VERSION_KEYS = ("name", "version", "description", "tags", "aliases", "sha256")


class RegisteredModels:
    """Registered models of one server."""

    def __init__(self, client: MlflowClient, *, check: bool) -> None:
        self._client = client
        self._check = check

    def present(
        self, name: str, wanted: Metadata, aliases: Mapping[str, str], *, purge_aliases: bool = False
    ) -> Outcome:
        """Make a registered model as it is wanted."""
        for alias in aliases:
            check_alias(alias)
        found = self._client.find_registered_model(name)
        current = None if found is None else model_facts(found)
        if current is None and aliases:
            raise InputError(
                f"aliases: there is no registered model {name} yet, so there is no version to give an alias to"
            )
        facts = current or {"name": name, "description": "", "tags": {}, "aliases": {}}
        keep = frozenset() if SPEC_TAG in wanted.tags else frozenset({SPEC_TAG})
        tags = tag_changes(wanted.tags, facts["tags"], purge=wanted.purge_tags, keep=keep)
        records = self._records(name, aliases, facts["aliases"], wanted.enforce_aliases)
        decided = frozenset((alias, version) for version, held in records.items() for alias in held)
        changes = alias_changes(aliases, facts["aliases"], decided, enforce=wanted.enforce_aliases, purge=purge_aliases)
        description = wanted.description if wanted.description is not None else facts["description"]
        after = facts | {
            "description": description,
            "tags": tags.applied(facts["tags"]),
            "aliases": changes.applied(facts["aliases"]),
        }
        outcome = self._outcome(current, after)
        if outcome.changed and not self._check:
            if current is None:
                self._create(name, wanted)
            else:
                if description != facts["description"]:
                    self._client.update_registered_model(name, description)
                self._apply_tags(name, tags)
                self._apply_aliases(name, changes, {} if wanted.enforce_aliases else records)
            # MLflow's clock and its own tags are in what it answers now.
            read = self._client.find_registered_model(name)
            return Outcome(True, outcome.before, outcome.after, model_facts(read) if read else after)
        return outcome

    def absent(self, name: str) -> Outcome:
        """Remove a registered model with all its versions."""
        found = self._client.find_registered_model(name)
        if found is None:
            return Outcome(False, {}, {})
        if not self._check:
            self._client.delete_registered_model(name)
        return Outcome(True, _shown(model_facts(found), MODEL_KEYS), {})

    def _outcome(self, current: dict[str, Any] | None, after: dict[str, Any]) -> Outcome:
        before = _shown(current, MODEL_KEYS)
        shown = _shown(after, MODEL_KEYS)
        return Outcome(before != shown, before, shown, after)

    def _create(self, name: str, wanted: Metadata) -> None:
        try:
            self._client.create_registered_model(name, wanted.description, wanted.tags)
        except RequestError as error:
            if error.code == "RESOURCE_ALREADY_EXISTS":
                error.hint = "It exists, but the user of this task may not read it: grant READ, or use another user."
            raise

    def _records(
        self, name: str, aliases: Mapping[str, str], current: Mapping[str, str], enforce: bool
    ) -> dict[str, set[str]]:
        """What was decided before, of the versions that could get an alias now; each must exist."""
        records: dict[str, set[str]] = {}
        for alias, number in aliases.items():
            if current.get(alias) == number or (alias in current and not enforce) or number in records:
                continue
            version = self._client.find_model_version(name, number)
            if version is None:
                raise InputError(f"aliases: {alias}: there is no version {number} of {name}")
            records[number] = decided_aliases(unpaired(version.get("tags")).get(ALIASES_TAG))
        return records

    def _apply_tags(self, name: str, changes: Changes) -> None:
        for key, value in changes.set.items():
            self._client.set_registered_model_tag(name, key, value)
        for key in changes.remove:
            self._client.delete_registered_model_tag(name, key)

    def _apply_aliases(self, name: str, changes: Changes, records: Mapping[str, set[str]]) -> None:
        for alias, number in changes.set.items():
            self._client.set_alias(name, alias, number)
            if number in records:
                records[number].add(alias)
                record = ",".join(sorted(records[number]))
                self._client.set_model_version_tag(name, number, ALIASES_TAG, record)
        for alias in changes.remove:
            self._client.delete_alias(name, alias)


class ModelVersions:
    """The metadata of versions at one server."""

    def __init__(self, client: MlflowClient, *, check: bool) -> None:
        self._client = client
        self._check = check

    def plan(
        self, facts: dict[str, Any], aliases: list[str], held: Mapping[str, str], wanted: Metadata
    ) -> tuple[dict[str, Any], Changes, Changes]:
        """What a version becomes, with the changes of its tags and aliases.

        :param held: alias to version, as the registered model has them.
        """
        number = facts["version"]
        decided = decided_aliases(facts["tags"].get(ALIASES_TAG))
        changes = alias_changes(
            dict.fromkeys(aliases, number),
            held,
            frozenset((alias, number) for alias in decided),
            enforce=wanted.enforce_aliases,
        )
        tags = dict(wanted.tags)
        if not wanted.enforce_aliases and set(aliases) - decided:
            tags[ALIASES_TAG] = ",".join(sorted(decided | set(aliases)))
        kept = frozenset({DIGEST_TAG, ALIASES_TAG, DRIFT_TAG})
        tagged = tag_changes(tags, facts["tags"], purge=wanted.purge_tags, keep=kept)
        after = facts | {
            "description": facts["description"] if wanted.description is None else wanted.description,
            "tags": tagged.applied(facts["tags"]),
            "aliases": sorted(alias for alias, version in changes.applied(held).items() if version == number),
        }
        return after, tagged, changes

    def converge(self, facts: dict[str, Any], aliases: list[str], held: Mapping[str, str], wanted: Metadata) -> Outcome:
        """Make an existing version's metadata as it is wanted."""
        after, tags, changes = self.plan(facts, aliases, held, wanted)
        before, shown = _shown(facts, VERSION_KEYS), _shown(after, VERSION_KEYS)
        outcome = Outcome(before != shown, before, shown, after)
        if outcome.changed and not self._check:
            name, number = facts["name"], facts["version"]
            if after["description"] != facts["description"]:
                self._client.update_model_version(name, number, after["description"])
            for alias in changes.set:
                self._client.set_alias(name, alias, number)
            for key, value in tags.set.items():
                self._client.set_model_version_tag(name, number, key, value)
            for key in tags.remove:
                self._client.delete_model_version_tag(name, number, key)
        return outcome

    def absent(self, facts: dict[str, Any], *, delete_content: bool) -> Outcome:
        """Remove a version, and on demand the run and logged model that this collection made for it."""
        if not self._check:
            self._client.delete_model_version(facts["name"], facts["version"])
            if delete_content and facts["run_id"] and facts["model_id"]:
                run = self._client.get_run(facts["run_id"])
                if unpaired((run.get("data") or {}).get("tags")).get(DIGEST_TAG) == facts["sha256"]:
                    self._client.delete_logged_model(facts["model_id"])
                    self._client.delete_run(facts["run_id"])
        return Outcome(True, _shown(facts, VERSION_KEYS), {})
