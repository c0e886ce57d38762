# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One declared model version: found by its content, made where it is missing, kept as declared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .._errors import InputError, RequestError
from .._outcome import Outcome
from .client import MlflowClient, unpaired
from .comparison import ALIASES_TAG, DIGEST_TAG, as_tags, check_alias
from .content import ContentFile, digest_of, scan_model
from .detectors import DRIFT_TAG, Detectors, as_detectors
from .holder import Dataset, Holder, as_artifacts, as_datasets, as_metrics, as_params
from .registration import Registration, Source, Version
from .service import Metadata, ModelVersions, model_aliases, version_facts


@dataclass(frozen=True)
class Wanted:
    """The options of the module, checked."""

    params: Mapping[str, Any]
    name: str
    path: str | None
    given: Metadata
    aliases: list[str]

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Wanted:
        """:raises InputError: for whatever can be seen without a server and without reading files."""
        tags = as_tags(params["tags"])
        for key in (DIGEST_TAG, ALIASES_TAG, DRIFT_TAG):
            if key in tags:
                raise InputError(f"tags: {key} is set by the module")
        for option in ("datasets", "artifacts", "params", "metrics", "experiment", "run_name", "run_tags"):
            if params["path"] is None and params[option]:
                raise InputError(f"{option}: needs path; what is stored already has a run of its own or none")
        as_tags(params["run_tags"], "run_tags")
        as_params(params["params"])
        as_metrics(params["metrics"])
        aliases = [str(alias) for alias in params["aliases"]]
        for alias in aliases:
            check_alias(alias)
        digest = params["sha256"]
        if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise InputError(f"sha256: {digest!r} is no SHA-256, which has 64 characters of 0-9 and a-f")
        metadata = Metadata(params["description"], tags, params["purge_tags"], params["aliases_mode"] == "enforce")
        return cls(params, params["name"], params["path"], metadata, aliases)

    @cached_property
    def files(self) -> list[ContentFile]:
        """The files of the directory, hashed."""
        return scan_model(Path(str(self.path)))

    @cached_property
    def datasets(self) -> tuple[Dataset, ...]:
        """The datasets, hashed."""
        return as_datasets(self.params["datasets"])

    @cached_property
    def detectors(self) -> Detectors | None:
        """The fitted detectors, hashed; None where they are to be left as they are."""
        return as_detectors(self.params["drift"])

    @property
    def metadata(self) -> Metadata:
        """What is wanted of the version, the mark of its detectors included."""
        if self.detectors is None:
            return self.given
        return replace(self.given, tags=self.given.tags | {DRIFT_TAG: self.detectors.digest})

    def digest(self) -> str | None:
        """The digest of the directory, or the one that was given."""
        given: str | None = self.params["sha256"]
        if self.path is None:
            return given
        found = digest_of(self.files)
        if given is not None and given != found:
            raise InputError(f"sha256: {self.path} has the tree digest {found}, not {given}")
        return found

    def holder(self, digest: str) -> Holder:
        """The run that is to hold the directory's content."""
        return Holder(
            experiment=self.params["experiment"] or self.name,
            run_name=self.params["run_name"] or f"{self.name}-{digest[:8]}",
            run_tags=as_tags(self.params["run_tags"], "run_tags"),
            params=as_params(self.params["params"]),
            metrics=as_metrics(self.params["metrics"]),
            datasets=self.datasets,
            artifacts=as_artifacts(self.params["artifacts"]),
            detectors=self.detectors,
        )

    def blank(self, digest: str | None, source: str = "") -> dict[str, Any]:
        """A version that doesn't exist yet."""
        return {
            "name": self.name,
            "version": None,
            "uri": None,
            "description": "",
            "tags": {DIGEST_TAG: digest} if digest else {},
            "aliases": [],
            "sha256": digest,
            "source": source,
            "run_id": None,
            "model_id": None,
            "status": "",
        }

    def would_be(self, digest: str | None) -> dict[str, Any]:
        """The result in check mode on an empty server."""
        tags = self.metadata.tags | ({DIGEST_TAG: digest} if digest else {})
        version = self.blank(digest) | {
            "description": self.metadata.description or "",
            "tags": dict(sorted(tags.items())),
            "aliases": sorted(self.aliases),
        }
        datasets = [dataset.entry() for dataset in self.datasets]
        return {
            "changed": True,
            "registered": True,
            "model_version": version,
            "datasets": datasets,
            "diff": {"before": {}, "after": _shown(version)},
        }


class Versions:
    """Converges one version at one server."""

    def __init__(self, client: MlflowClient, wanted: Wanted, *, check: bool) -> None:
        self._client = client
        self._wanted = wanted
        self._check = check
        self._metadata = ModelVersions(client, check=check)
        params = wanted.params
        self._registration = Registration(
            client,
            concurrency=params["concurrency"],
            verify=params["verify"],
            wait_timeout=params["wait_timeout"],
        )

    def present(self) -> dict[str, Any]:
        """The module's result with ``state: present``."""
        # The disk is looked at before the server: what is wrong there is said even when no server answers.
        digest, detectors = self._wanted.digest(), self._wanted.detectors
        model = self._client.find_registered_model(self._wanted.name)
        source = None if self._wanted.path is not None else self._source()
        found = self._find(model, digest, source)
        if found is None and source is not None and source.location is not None:
            digest = self._checked(self._registration.digest_of_source(source), digest, source)
            found = self._by_digest(model, digest)
        held = model_aliases(model)
        if found is not None:
            facts = version_facts(found, held)
            if detectors is not None and facts["tags"].get(DRIFT_TAG) != detectors.digest:
                self._keep_detectors(detectors, facts["run_id"], facts["uri"])
            return self._result(self._converge(facts, held), registered=False)
        if self._wanted.path is None and source is None:
            number = self._wanted.params["version"]
            what = f"version {number}" if number is not None else f"version with the digest {digest}"
            raise InputError(
                f"{'version' if number is not None else 'sha256'}: there is no {what} of {self._wanted.name}"
            )
        return self._register(digest, source, held, first=model is None)

    def absent(self, delete_content: bool) -> dict[str, Any]:
        """The module's result with ``state: absent``."""
        digest = self._wanted.digest()
        model = self._client.find_registered_model(self._wanted.name)
        source = None if model is None or self._wanted.path is not None else self._source()
        found = None if model is None else self._find(model, digest, source)
        if found is None:
            return self._result(Outcome(False, {}, {}), registered=False)
        facts = version_facts(found, model_aliases(model))
        return self._result(self._metadata.absent(facts, delete_content=delete_content), registered=False)

    def _source(self) -> Source | None:
        params = self._wanted.params
        if params["source"]:
            return self._registration.resolve(params["source"], params["run_id"])
        if params["artifact_path"]:
            return self._registration.resolve_run(params["run_id"], params["artifact_path"])
        return None

    def _find(self, model: dict[str, Any] | None, digest: str | None, source: Source | None) -> dict[str, Any] | None:
        if model is None:
            return None
        number = self._wanted.params["version"]
        if number is not None:
            return self._client.find_model_version(self._wanted.name, str(number))
        found = self._by_digest(model, digest) if digest else None
        if found is None and source is not None:
            found = self._registration.find_by_source(self._wanted.name, source)
            recorded = unpaired((found or {}).get("tags")).get(DIGEST_TAG)
            if digest and recorded and digest != recorded:
                raise InputError(f"sha256: {source.uri} was registered with the tree digest {recorded}, not {digest}")
        return found

    def _by_digest(self, model: dict[str, Any] | None, digest: str | None) -> dict[str, Any] | None:
        if model is None or not digest:
            return None
        # The newest version comes with the model, which saves a search in the usual case.
        for version in model.get("latest_versions") or []:
            tags = unpaired(version.get("tags"))
            if tags.get(DIGEST_TAG) == digest and version.get("status") == "READY":
                return dict(version)
        return self._registration.find_by_digest(self._wanted.name, digest)

    def _checked(self, found: str | None, given: str | None, source: Source) -> str | None:
        if given and found and given != found:
            raise InputError(f"sha256: {source.uri} has the tree digest {found}, not {given}")
        return found or given

    def _register(
        self, digest: str | None, source: Source | None, held: Mapping[str, str], *, first: bool
    ) -> dict[str, Any]:
        wanted = self._wanted
        # Read and checked in check mode too.
        holder = wanted.holder(digest or "")
        if source is not None and wanted.detectors is not None:
            self._keep_detectors(wanted.detectors, source.run_id, source.uri)
        if self._check:
            blank = wanted.blank(digest, source.uri if source else "") | {"version": "new"}
            after = self._metadata.plan(blank, wanted.aliases, held, wanted.metadata)[0]
            after["version"] = None
            return self._result(Outcome(True, {}, _shown(after), after), registered=True)
        version = Version(wanted.name, first, wanted.metadata.description, wanted.metadata.tags)
        if source is None:
            made = self._registration.from_directory(version, wanted.files, holder)
        else:
            made = self._registration.from_source(version, source, digest)
        facts = version_facts(made, held)
        try:
            outcome = self._metadata.converge(facts, wanted.aliases, held, wanted.metadata)
        except RequestError as error:
            done = (
                f"Version {facts['version']} of {wanted.name} is registered; its aliases are set when this runs again."
            )
            error.hint = f"{error.hint} {done}".strip()
            raise
        return self._result(Outcome(True, {}, outcome.after, outcome.value), registered=True)

    def _converge(self, facts: dict[str, Any], held: Mapping[str, str]) -> Outcome:
        return self._metadata.converge(facts, self._wanted.aliases, held, self._wanted.metadata)

    def _keep_detectors(self, detectors: Detectors, run_id: str | None, what: str) -> None:
        """Store them before the version's tag tells of them: a failure in between is made good by the next call."""
        if not run_id:
            raise InputError(f"drift: {what} comes from no run, and detectors are kept with one; set run_id")
        if not self._check:
            self._registration.keep_detectors(run_id, detectors)

    def _result(self, outcome: Outcome, *, registered: bool) -> dict[str, Any]:
        logged = self._wanted.datasets if registered and self._wanted.path is not None else ()
        return {
            "changed": outcome.changed,
            "model_version": outcome.value,
            "registered": registered,
            "datasets": [dataset.entry() for dataset in logged],
            "diff": {"before": outcome.before, "after": outcome.after},
        }


def _shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: facts[key] for key in ("name", "version", "description", "tags", "aliases", "sha256")}
