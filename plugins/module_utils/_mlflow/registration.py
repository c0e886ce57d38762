# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a model version: store the content, check what was stored, register it; or leave nothing behind.

The content of a directory goes into a logged model of MLflow 3, made by a run that holds datasets, parameters and
metrics. The version is created last, when all of it is in place. Whatever fails before that is taken away again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar, cast

from .._errors import InputError, RequestError
from .client import MlflowClient, artifact_path, unpaired
from .comparison import DIGEST_TAG, quoted
from .content import ContentFile, Reader, digest_of, is_ignored, tree_digest
from .detectors import Detectors
from .holder import MANIFEST, Holder

MODEL_TAG = "mlops.registered_model"
LOGGED_MODEL = "model"
BATCH = 100
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """A place that a version can be made from: what the registry is told, and where the proxy has the files."""

    uri: str
    run_id: str | None = None
    model_id: str | None = None
    location: str | None = None


@dataclass(frozen=True)
class Version:
    """A version to make; ``first`` where its registered model is to be made too."""

    name: str
    first: bool = False
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


class Leftovers:
    """What has to be taken away when something fails, in reverse order."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], None]]] = []

    def add(self, what: str, remove: Callable[[], None]) -> None:
        self._steps.append((what, remove))

    def remove(self) -> list[str]:
        """Take everything away; returns what is left because the server doesn't answer any more."""
        left: list[str] = []
        gone = False
        for what, remove in reversed(self._steps):
            try:
                if gone:
                    left.append(what)
                else:
                    remove()
            except RequestError as error:
                left.append(what)
                gone = error.unreachable
        return left


class Registration:
    """Makes versions at one server.

    :param concurrency: how many files are on their way at once.
    :param verify: ``hash`` reads everything back and compares, ``size`` compares sizes.
    :param wait_timeout: seconds for a version to become READY.
    """

    def __init__(
        self, client: MlflowClient, *, concurrency: int = 4, verify: str = "hash", wait_timeout: float = 60.0
    ) -> None:
        if concurrency < 1:
            raise InputError("concurrency: must be at least 1")
        self._client = client
        self._concurrency = concurrency
        self._verify = verify
        self._wait_timeout = wait_timeout

    def find_by_digest(self, name: str, digest: str) -> dict[str, Any] | None:
        """The newest usable version with this content."""
        return self._newest(f"name = {quoted(name, 'name')} and tags.`{DIGEST_TAG}` = '{digest}'")

    def find_by_source(self, name: str, source: Source) -> dict[str, Any] | None:
        """The newest usable version made from this source."""
        filter_ = f"name = {quoted(name, 'name')} and source_path = {quoted(source.uri, 'source')}"
        return self._newest(filter_)

    def _newest(self, filter_: str) -> dict[str, Any] | None:
        usable = [
            one for one in self._client.search_model_versions(filter_) if one.get("status") != "FAILED_REGISTRATION"
        ]
        return max(usable, key=lambda one: int(one["version"]), default=None)

    def from_directory(self, version: Version, files: list[ContentFile], holder: Holder) -> dict[str, Any]:
        """Store a directory's files and register them."""
        digest = digest_of(files)
        with self._undone_on_failure() as leftovers:
            experiment_id = self._experiment(holder.experiment)
            self._remove_unfinished(experiment_id, version.name, digest)
            # An answer that got lost may have made a run all the same.
            leftovers.add(
                f"a run of {holder.experiment}", lambda: self._remove_unfinished(experiment_id, version.name, digest)
            )
            marks = {DIGEST_TAG: digest, MODEL_TAG: version.name}
            run = self._client.create_run(experiment_id, holder.run_name, _now(), holder.run_tags | marks)
            run_id = str(run["info"]["run_id"])
            leftovers.add(f"run {run_id}", lambda: self._remove_run(experiment_id, run_id))
            model = self._create_logged_model(experiment_id, run_id, holder, digest)
            model_id = str(model["model_id"])
            self._client.log_output(run_id, model_id)
            model_path = self._proxied(str(model["artifact_uri"]), holder.experiment)
            run_uri = str(run["info"]["artifact_uri"])
            self._store(model_path, files)
            if holder.files() or holder.datasets:
                run_path = self._proxied(run_uri, holder.experiment)
                self._store(run_path, holder.files())
                if holder.datasets:
                    self._store_bytes(holder.manifest(), f"{run_path}/{MANIFEST}")
            self._log(run_id, model_id, holder, run_uri)
            self._client.finish_logged_model(model_id)
            self._client.finish_run(run_id, _now())
            source = Source(f"models:/{model_id}", run_id, model_id, model_path)
            return self._register(version, source, digest, leftovers, known=set())

    def from_source(self, version: Version, source: Source, digest: str | None) -> dict[str, Any]:
        """Register what is stored already."""
        with self._undone_on_failure() as leftovers:
            known = {str(one["version"]) for one in self._made_from(version.name, source)}
            return self._register(version, source, digest, leftovers, known=known)

    def keep_detectors(self, run_id: str, detectors: Detectors) -> None:
        """Store fitted detectors with a run, in the place of those that it has. Files of others stay, unread."""
        run = self._client.get_run(run_id)
        path = self._proxied(str(run["info"]["artifact_uri"]), f"run {run_id}")
        for files in detectors.in_order():
            self._store(path, files)

    def digest_of_source(self, source: Source) -> str | None:
        """The tree digest of what lies at a source, None where it doesn't go through the server's proxy."""
        if source.location is None:
            return None
        location = source.location
        files = {path: size for path, size in self._client.list_artifacts(location).items() if not is_ignored(path)}
        if "MLmodel" not in files:
            raise InputError(f"source: {source.uri} has no MLmodel file at {location}, so it is no MLflow model")
        hashes: dict[str, str] = {}

        def fetch(path: str) -> None:
            hashes[path] = self._stored_hash(f"{location}/{path}", files[path])

        self._concurrently(fetch, files)
        return tree_digest(hashes)

    def resolve(self, uri: str, run_id: str | None = None) -> Source:
        """What an artefact address means.

        :raises InputError: for an address that no version can be made from.
        """
        scheme, _colon, rest = uri.partition(":")
        rest = rest.strip("/")
        if scheme == "runs":
            run, _slash, path = rest.partition("/")
            return self.resolve_run(run, path)
        if scheme == "models" and rest.startswith("m-") and "/" not in rest:
            return self._logged_model_source(rest)
        if scheme == "models":
            return self._version_source(uri, rest)
        if scheme == "mlflow-artifacts":
            return self._proxied_source(uri, rest, run_id)
        if scheme in ("", "file") or uri.startswith(("/", ".")) or ":" not in uri:
            raise InputError(f"source: {uri} is a local path; give it as path")
        return Source(uri.rstrip("/"), run_id)

    def resolve_run(self, run_id: str, path: str) -> Source:
        """A run's model: a logged model of this name, or a directory among the run's artefacts."""
        path = path.strip("/")
        if not run_id or not path:
            raise InputError("source: a run needs an artifact path too, runs:/<run id>/<path>")
        run = self._client.get_run(run_id)
        outputs = (run.get("outputs") or {}).get("model_outputs") or []
        for output in sorted(outputs, key=lambda one: int(one.get("step") or 0), reverse=True):
            model = self._client.get_logged_model(str(output["model_id"]))
            if model.get("name") == path:
                return self._logged_model_source(str(model["model_id"]), model)
        root = str(run["info"]["artifact_uri"]).rstrip("/")
        proxied = artifact_path(root)
        return Source(f"{root}/{path}", run_id, None, None if proxied is None else f"{proxied}/{path}")

    def _logged_model_source(self, model_id: str, model: dict[str, Any] | None = None) -> Source:
        model = model or self._client.get_logged_model(model_id)
        location = artifact_path(str(model.get("artifact_uri", "")))
        return Source(f"models:/{model_id}", model.get("source_run_id") or None, model_id, location)

    def _version_source(self, uri: str, rest: str) -> Source:
        name, _slash, number = rest.rpartition("/")
        if "@" in rest:
            name, _at, alias = rest.rpartition("@")
            model = self._client.find_registered_model(name)
            held = {one["alias"]: str(one["version"]) for one in (model or {}).get("aliases") or []}
            number = held.get(alias, "")
        if not number.isdigit():
            raise InputError(
                f"source: {uri} names no model version; write models:/<name>/<version> or models:/<name>@<alias>"
            )
        found = self._client.find_model_version(name, number)
        if found is None:
            raise InputError(
                f"source: there is no version {number} of a registered model {name}, or the user may not see it"
            )
        location = artifact_path(self._client.download_uri(name, number))
        return Source(f"models:/{name}/{number}", None, None, location)

    def _proxied_source(self, uri: str, path: str, run_id: str | None) -> Source:
        parts = path.split("/")
        if len(parts) > 3 and parts[1] == "models" and parts[2].startswith("m-"):
            return Source(uri.rstrip("/"), None, parts[2], artifact_path(uri))
        owner = run_id or (parts[1] if len(parts) > 3 and parts[2] == "artifacts" else None)
        if owner is None:
            raise InputError(f"source: {uri} doesn't say which run it belongs to; set run_id")
        return Source(uri.rstrip("/"), owner, None, artifact_path(uri))

    @contextlib.contextmanager
    def _undone_on_failure(self) -> Iterator[Leftovers]:
        leftovers = Leftovers()
        try:
            yield leftovers
        except BaseException as error:
            left = leftovers.remove()
            note = f"Not registered; left behind, because it could not be removed: {', '.join(left)}." if left else ""
            if isinstance(error, RequestError):
                error.hint = " ".join(part for part in (error.hint, note or "Nothing was registered.") if part)
            elif left and isinstance(error, InputError):
                raise InputError(f"{error}. {note}") from error
            raise

    def _experiment(self, name: str) -> str:
        found = self._client.find_experiment(name)
        if found is None:
            return self._client.create_experiment(name)
        if found.get("lifecycle_stage") == "deleted":
            raise InputError(f"experiment: {name} is deleted in MLflow; restore it there, or set another name")
        return str(found["experiment_id"])

    def _remove_unfinished(self, experiment_id: str, name: str, digest: str) -> None:
        """What a killed module left of the same content."""
        filter_ = f"attributes.status = 'RUNNING' and tags.`{DIGEST_TAG}` = '{digest}'"
        for run in self._client.search_runs(experiment_id, filter_):
            if unpaired((run.get("data") or {}).get("tags")).get(MODEL_TAG) == name:
                self._remove_run(experiment_id, str(run["info"]["run_id"]))

    def _remove_run(self, experiment_id: str, run_id: str) -> None:
        """A run and its logged models; MLflow keeps their files until its gc collects them."""
        for model in self._client.search_logged_models(experiment_id, f"source_run_id = '{run_id}'"):
            self._client.delete_logged_model(str(model["model_id"]))
        self._client.delete_run(run_id)

    def _create_logged_model(self, experiment_id: str, run_id: str, holder: Holder, digest: str) -> dict[str, Any]:
        batches = list(_batches(holder.params))
        first = batches[0] if batches else {}
        model = self._client.create_logged_model(experiment_id, LOGGED_MODEL, run_id, first, {DIGEST_TAG: digest})
        for batch in batches[1:]:
            self._client.log_logged_model_params(str(model["model_id"]), batch)
        return model

    def _log(self, run_id: str, model_id: str, holder: Holder, run_uri: str) -> None:
        if holder.datasets:
            self._client.log_inputs(run_id, [dataset.as_input(run_uri) for dataset in holder.datasets])
        tested = [dataset for dataset in holder.datasets if dataset.context == "test"]
        about = {"dataset_name": tested[0].name, "dataset_digest": tested[0].digest} if len(tested) == 1 else {}
        stamp = _now()
        metrics = [
            {"key": key, "value": value, "timestamp": stamp, "step": 0, "model_id": model_id, **about}
            for key, value in holder.metrics.items()
        ]
        batches = list(_batches(holder.params)) or [{}]
        for number, batch in enumerate(batches):
            if batch or (number == 0 and metrics):
                self._client.log_batch(run_id, metrics if number == 0 else [], batch, {})

    def _register(
        self, version: Version, source: Source, digest: str | None, leftovers: Leftovers, *, known: set[str]
    ) -> dict[str, Any]:
        name = version.name
        if version.first:
            leftovers.add(f"registered model {name}", lambda: self._remove_if_empty(name))
            self._client.create_registered_model(name, None, {})
        leftovers.add(f"version of {name} from {source.uri}", lambda: self._remove_versions(name, source, known))
        tags = version.tags | ({DIGEST_TAG: digest} if digest else {})
        body: dict[str, Any] = {"name": name, "source": source.uri, "tags": _pairs(tags)}
        if version.description is not None:
            body["description"] = version.description
        if source.run_id:
            body["run_id"] = source.run_id
        if source.model_id:
            body["model_id"] = source.model_id
        return self._ready(self._client.create_model_version(body))

    def _ready(self, version: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + self._wait_timeout
        name, number = str(version["name"]), str(version["version"])
        while version.get("status", "READY") == "PENDING_REGISTRATION":
            if time.monotonic() > deadline:
                raise InputError(
                    f"wait_timeout: version {number} of {name} was not READY within {self._wait_timeout:g} s"
                )
            time.sleep(0.5)
            version = self._client.find_model_version(name, number) or version
        if version.get("status", "READY") != "READY":
            raise InputError(f"MLflow could not register version {number} of {name}: {version.get('status_message')}")
        return version

    def _made_from(self, name: str, source: Source) -> list[dict[str, Any]]:
        filter_ = f"name = {quoted(name, 'name')} and source_path = {quoted(source.uri, 'source')}"
        return self._client.search_model_versions(filter_)

    def _remove_versions(self, name: str, source: Source, known: set[str]) -> None:
        """A version whose creation was answered half, or that never became READY."""
        for version in self._made_from(name, source):
            if str(version["version"]) not in known:
                self._client.delete_model_version(name, str(version["version"]))

    def _remove_if_empty(self, name: str) -> None:
        model = self._client.find_registered_model(name)
        if model is not None and not model.get("latest_versions"):
            self._client.delete_registered_model(name)

    def _proxied(self, uri: str, experiment: str) -> str:
        path = artifact_path(uri)
        if path is None:
            raise InputError(
                f"experiment: MLflow keeps the artefacts of {experiment} at {uri}, outside its artifact proxy; "
                "start it with --serve-artifacts and --artifacts-destination and without --default-artifact-root, "
                "and set another experiment"
            )
        return path

    def _store(self, root: str, files: list[ContentFile]) -> None:
        """Upload files below a path, then check what the server has of them."""

        def put(file: ContentFile) -> None:
            self._client.upload(f"{root}/{file.path}", lambda: cast(BinaryIO, Reader(file)), file.size)

        self._concurrently(put, files)
        if self._verify == "hash":
            self._concurrently(lambda file: self._check_hash(file, f"{root}/{file.path}"), files)
        else:
            self._check_sizes(root, files)

    def _store_bytes(self, data: bytes, target: str) -> None:
        self._client.upload(target, lambda: io.BytesIO(data), len(data))

    def _stored_hash(self, target: str, size: int) -> str:
        digest = hashlib.sha256()
        with self._client.download(target, size) as chunks:
            for chunk in chunks:
                digest.update(chunk)
        return digest.hexdigest()

    def _check_hash(self, file: ContentFile, target: str) -> None:
        found = self._stored_hash(target, file.size)
        if found != file.sha256:
            raise self._differs(target, f"it has the SHA-256 {found}, {file.source} has {file.sha256}")

    def _check_sizes(self, root: str, files: list[ContentFile]) -> None:
        stored = self._client.list_artifacts(root)
        for file in files:
            size = stored.get(file.path)
            if size != file.size:
                raise self._differs(f"{root}/{file.path}", f"it has {size or 0} bytes, {file.source} has {file.size}")

    def _differs(self, target: str, message: str) -> RequestError:
        return RequestError(
            "GET",
            self._client.http.address(f"/api/2.0/mlflow-artifacts/artifacts/{target}"),
            f"what the server stored is not what was sent: {message}",
            hint="The object store behind MLflow alters or loses what it is given.",
        )

    def _concurrently(self, call: Callable[[T], None], items: Iterable[T]) -> None:
        """Call for each; the first failure stops those that haven't begun."""
        with ThreadPoolExecutor(self._concurrency) as pool:
            futures = [pool.submit(call, item) for item in items]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _now() -> int:
    return int(time.time() * 1000)


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _batches(values: dict[str, str]) -> Iterable[dict[str, str]]:
    items = list(values.items())
    for start in range(0, len(items), BATCH):
        yield dict(items[start : start + BATCH])
