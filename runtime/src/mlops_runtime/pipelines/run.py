# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One retraining, from the datasets to the alias, as a flow sees it.

Its MLflow run is found again by its episode: a flow that a crash broke off goes on with the champion and the span of
time that it began with.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from mlflow.entities import Metric as LoggedMetric
from mlflow.entities import Param, RunTag
from sklearn.model_selection import KFold, StratifiedKFold

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.digest import TAG as DIGEST_TAG
from mlops_runtime.contracts.digest import digest_of_files, is_ignored
from mlops_runtime.contracts.mlflow import tags_of
from mlops_runtime.contracts.tags import EPISODE, PROMOTION
from mlops_runtime.drift.archive.store import EXPERIMENT, Store
from mlops_runtime.pipelines import (
    datasets,
    detectors,
    gate,
    holdout,
    promotion,
    registration,
    repetition,
    stream,
    tuning,
)
from mlops_runtime.pipelines.access import Access, connect
from mlops_runtime.pipelines.answers import Predictor, of_directory, of_estimator
from mlops_runtime.pipelines.errors import NotRepeated, PipelineError, TamperedModel
from mlops_runtime.pipelines.holdout import Data
from mlops_runtime.pipelines.metrics import Metric, metric
from mlops_runtime.pipelines.rows import aligned, identified, together

CHAMPION: Final = "mlops.champion"
"""Of a run: the version that was champion when it began."""
ALERTED: Final = "mlops.alerted_version"
MODEL: Final = "mlops.model"
OUTCOME: Final = "mlops.outcome"
_PARENT_RUN: Final = "mlflow.parentRunId"
_EPISODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_NAME: Final = re.compile(r"[^'`\"\\/:]{1,250}")
log = logging.getLogger(__name__)


@contextlib.contextmanager
def retraining(
    model: str,
    version: str = "",
    episode: str = "",
    *,
    target: str,
    seed: int = 0,
    repeats: str = "",
    load: Callable[[Path], Predictor] = of_directory,
    judged_by: Metric | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Retraining]:
    """A run in MLflow, in the experiment `retraining-<model>`; it fails where what is inside raises.

    `version` is the one that the alerts were about; what a challenger has to beat is the champion. Without an `episode`
    it is the flow run's id. `target`: the column to learn. `repeats`: a version whose making is repeated, with its data
    and its seed: nothing is registered, and nothing moves; the run fails where it finds other figures. `load` makes a
    predictor of a model's directory, for models of a class of your own. `judged_by`: a metric of your own in the place
    of the declaration's.
    Raises NoChampion, PipelineError, MlflowError.
    """
    access = connect(env)
    with tempfile.TemporaryDirectory(prefix=f"retraining-{os.getpid()}-") as folder:
        run = Retraining.begin(access, model, version, episode or _flow_run(), target, seed, repeats, Path(folder))
        run.load, run.judged_by = load, judged_by
        try:
            yield run
        except Exception as error:
            run.end("FAILED", getattr(error, "outcome", "failed"), str(error))
            raise
        except BaseException as error:
            run.end("KILLED", "broken_off", type(error).__name__)
            raise
        run.end("FINISHED")


class Retraining:
    """What a flow's tasks call, in this order: `data`, `tune`, `judge`, `register`, `promote`."""

    load: Callable[[Path], Predictor] = staticmethod(of_directory)
    judged_by: Metric | None = None

    def __init__(
        self, access: Access, model: str, episode: str, target: str, seed: int, directory: Path, run: Mapping[str, Any]
    ) -> None:
        tags = tags_of(run["data"])
        self.access = access
        self.model = model
        self.episode = episode
        self.target = target
        self.seed = seed
        self.directory = directory
        """For files of the flow; gone when the run is over."""
        self.run_id = str(run["info"]["run_id"])
        self.experiment_id = str(run["info"]["experiment_id"])
        self.champion = tags[CHAMPION]
        """The version that was champion when the run began."""
        self.since = datetime.fromisoformat(tags[registration.SINCE])
        self.until = datetime.fromisoformat(tags[registration.UNTIL])
        self.spec = access.registered(model).declaration()
        repeats = tags.get(repetition.REPEATS, "")
        self.original = repetition.original(access, model, repeats) if repeats else None
        """The version whose making is repeated, if one is."""
        self._outcome = "finished"

    @classmethod
    def begin(
        cls,
        access: Access,
        model: str,
        version: str,
        episode: str,
        target: str,
        seed: int,
        repeats: str,
        directory: Path,
    ) -> Retraining:
        """The episode's run, made or taken up again. Raises as `retraining` does."""
        if not _NAME.fullmatch(model) or not _EPISODE.fullmatch(episode):
            raise PipelineError(f"{model!r} and {episode!r} are no names of a model and an episode")
        registered = access.registered(model)
        experiment = _experiment(access, f"retraining-{model}")
        known = access.client.search_runs([experiment], f"tags.`{EPISODE}` = '{episode}'", max_results=1)
        if known:
            run_id = str(known[0].info.run_id)
            log.info("The run %s of episode %s is taken up again", run_id, episode)
            access.client.update_run(run_id, status="RUNNING")
            _end_children(access, experiment, run_id)
        else:
            pipeline, parameters = os.environ.get(environment.PIPELINE, ""), _flow_parameters()
            if repeats:
                original = repetition.original(access, model, repeats)
                original.check(pipeline, parameters)
                champion, seed = original.champion, original.seed
                span = {key: original.tags[key] for key in (registration.SINCE, registration.UNTIL)}
            else:
                champion = registered.champion
                span = _span(access.mlflow.version(model, champion))
            tags = {
                EPISODE: episode,
                MODEL: model,
                CHAMPION: champion,
                ALERTED: version or champion,
                registration.PIPELINE: pipeline,
                repetition.SEED: str(seed),
                **span,
                **({repetition.PARAMETERS: parameters} if parameters else {}),
                **({repetition.REPEATS: repeats} if repeats else {}),
            }
            run = access.client.create_run(experiment, tags=tags, run_name=f"{model}-{episode}"[:250])
            run_id = str(run.info.run_id)
        return cls(access, model, episode, target, seed, directory, access.run(run_id))

    def data(
        self,
        *,
        files: Iterable[str | Path] = (),
        ids: str = "",
        time: str = "",
        train: pd.DataFrame | None = None,
        test: pd.DataFrame | None = None,
        archive: bool = True,
        share: float = holdout.SHARE,
        minimum: int = holdout.MINIMUM,
        count: int | None = None,
    ) -> Data:
        """Old and new rows, and the frozen holdout.

        New are `files`, the oldest row first (`ids` and `time`: columns that say which observation a row is, and when),
        and then what the stream has archived since the champion was trained. `train` and `test` stand for the
        champion's datasets where it was registered without. `share`, `minimum`, or `count`: of the new rows, what the
        newest slice takes. A run that repeats another one has that one's, whatever is given here.
        Raises TooFewLabels, MissingDataset, TamperedDataset, UnfitRows, MlflowError.
        """
        folder = self.directory / "champion"
        train = self._registered("train", folder) if train is None else identified(train)
        if self.original is not None:
            place = self.directory / "original"
            return self._frozen(self.original.data(self.access, self.model, train, self.target, place))
        test = self._registered("test", folder) if test is None else identified(test)
        features = [str(name) for name in train.columns if name != self.target]
        frames, where = [], []
        if files:
            frames.append(aligned(datasets.brought(files, ids, time), train, "the files"))
            where.append("in files")
        if archive:
            store = Store(self.access.mlflow, os.environ.get(environment.ARCHIVE_EXPERIMENT) or EXPERIMENT)
            found = stream.labelled(store, self.model, self.since, self.until, features, self.target)
            frames.append(aligned(found.frame, train, "the archived stream") if len(found.frame) else found.frame)
            where.append(
                f"in the stream since {self.since:%Y-%m-%d %H:%M} UTC ({found.archived} archived, {found.unlabelled} "
                f"without a label, {found.unfit} that don't fit)"
            )
        if not frames:
            raise PipelineError("there are no new rows: neither files nor the archived stream")
        new = together([frame for frame in frames if len(frame)] or frames[:1])
        made = holdout.freeze(
            train=train,
            test=test,
            new=new,
            target=self.target,
            share=share,
            minimum=minimum,
            count=count,
            where=", ".join(where),
        )
        return self._frozen(made)

    def tune(
        self,
        fit: Callable[..., Any],
        space: tuning.Space,
        data: Data,
        *,
        trials: int = 20,
        parallel: int = 2,
        folds: int = 3,
        scored_by: Metric | None = None,
    ) -> dict[str, Any]:
        """The best parameters for `fit(train, **parameters)`, which returns an estimator, by cross-validation on the
        training frame; the holdout isn't touched. Each trial is a nested run. Raises NoTrial, ValueError."""
        by = scored_by or self.metric()
        folded = list(_folds(data, folds, self.seed))

        def objective(parameters: dict[str, Any]) -> float:
            return float(np.mean([_score(fit, parameters, data, learnt, tried, by) for learnt, tried in folded]))

        tuned = tuning.tune(
            objective,
            space,
            trials=trials,
            parallel=parallel,
            lower_is_better=by.lower_is_better,
            seed=self.seed,
            log_to=_TrialRuns(self.access, self.experiment_id, self.run_id, by.name),
        )
        self._tag({"mlops.best_trial": str(tuned.number)})
        self._log({f"tuned_{by.name}": tuned.value, "trials": tuned.trials, "trials_failed": tuned.failed})
        return dict(tuned.parameters)

    def judge(self, challenger: Path, data: Data) -> gate.Verdict:
        """The model in this directory against the champion.

        Raises PipelineError, TamperedModel, UnfitRows, ModelError, MlflowError.
        """
        declared = self.spec.retraining.gate if self.spec.retraining else None
        if declared is None:
            raise PipelineError(f"the declaration of {self.model} has no retraining.gate to be judged by")
        about = {"model": self.model, "champion_version": self.champion, "episode": self.episode}
        champion = self.load(self._champion())
        verdict = gate.judge(declared, self.metric(), champion, self.load(challenger), data, about)
        for reason in verdict.reasons:
            log.info("Gate %s: %s", verdict.outcome, reason)
        place = f"{self.access.artefacts_of(self.run_id)}/{gate.FILE}"
        self.access.mlflow.put(place, verdict.to_json().encode())
        self._log(verdict.figures())
        self._tag({gate.TAG: verdict.outcome})
        self._outcome = verdict.outcome
        return verdict

    def register(
        self,
        challenger: Path,
        data: Data,
        verdict: gate.Verdict,
        *,
        parameters: Mapping[str, Any] | None = None,
        performance: Mapping[str, Any] | None = None,
        fitted: Path | None = None,
        requirements: Path | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """The new version, whether it has won or not: its tags say. The episode's version, where there is one already;
        where another run is repeated, that one's.

        `performance`: parameters of the watch on how well it does. `fitted`: a directory of detectors of the flow's own
        in the place of those that are fitted here. `requirements`: the lock that it is to serve with; where that isn't
        the champion's, the platform makes an image of it.
        Raises NotRepeated, PipelineError, UnfitReference, UnfitData, MlflowError.
        """
        if self.original is not None:
            return self._compared(self.original)
        if found := registration.find(self.access, self.model, self.episode):
            log.info("Version %s was made for episode %s already", found, self.episode)
            return found
        # First of all: a lock that can't be used is said before detectors are fitted for minutes.
        lock = "" if requirements is None else _read(requirements)
        environment, lock = registration.environment(self.access, self.model, self.champion, lock)
        drift, sha256 = fitted, ""
        if drift is None and self.spec.drift is not None:
            drift = self.directory / detectors.FOLDER
            detectors.fit_detectors(
                self.spec.drift,
                self.model,
                self.load(challenger),
                data,
                drift,
                chances=self.spec.model_class is not None or self.spec.method == "predict_proba",
                performance=performance,
                seed=self.seed,
            )
        if drift is not None:
            sha256 = detectors.sha256_of(drift)
        run = tags_of(self.access.run(self.run_id)["data"])
        lineage = {key: run.get(key, "") for key in (registration.SINCE, registration.UNTIL, registration.PIPELINE)}
        candidate = registration.Candidate(
            name=self.model,
            episode=self.episode,
            model=challenger,
            data=data,
            verdict=verdict,
            drift=drift,
            drift_sha256=sha256,
            parameters=dict(parameters or {}),
            tags={
                **(tags or {}),
                **environment,
                **lineage,
                registration.PARENT: self.champion,
            },
            lock=lock,
        )
        return registration.register(self.access, self.run_id, candidate, self.directory / "stored")

    def promote(self, version: str) -> promotion.Promotion:
        """Move the alias, if the version has won, the declaration says so, and it is where it was.

        Raises TaskFailed where a task of this flow run has failed, NoChampion, MlflowError.
        """
        if "prefect" in sys.modules:
            from mlops_runtime.pipelines.flows import hold

            hold()
        if self.original is not None:
            self._outcome = promotion.REPEATED
            return promotion.Promotion(
                version, promotion.REPEATED, f"the run of version {version} has found the same again"
            )
        made = promotion.promote(self.access, self.model, version, self.spec.retraining, self.champion)
        log.info("%s: %s", made.outcome, made.reason)
        self._tag({"mlops.version": version, PROMOTION: f"{made.outcome}: {made.reason}"})
        self._outcome = made.outcome
        return made

    def metric(self) -> Metric:
        """What is judged by. Raises PipelineError, ValueError."""
        if self.judged_by is not None:
            return self.judged_by
        if self.spec.retraining is None or self.spec.retraining.gate is None:
            raise PipelineError(f"the declaration of {self.model} has no retraining.gate, and so no metric")
        return metric(self.spec.retraining.gate.metric)

    def end(self, status: str, outcome: str = "", problem: str = "") -> None:
        """Close the run in MLflow; a registry that is away doesn't hide what went wrong."""
        try:
            self._tag({OUTCOME: outcome or self._outcome, "mlops.problem": problem[:5000]})
            self.access.client.set_terminated(self.run_id, status)
        except Exception:
            if status == "FINISHED":
                raise
            log.exception("The run %s could not be closed", self.run_id)

    def _registered(self, context: str, folder: Path) -> pd.DataFrame:
        return datasets.frame_of(self.access, self.model, self.champion, context, folder)

    def _frozen(self, data: Data) -> Data:
        self._tag({registration.HOLDOUT: data.sha256})
        self._log({"rows_train": len(data.train), "rows_old": len(data.old), "rows_new": len(data.new)})
        return data

    def _compared(self, original: repetition.Original) -> str:
        """The version that is repeated. Raises NotRepeated."""
        found = original.differences(repetition.metrics_of(self.access.run(self.run_id)["data"]))
        if found:
            raise NotRepeated(f"the run of version {original.version} isn't repeated: {'; '.join(found)}")
        return original.version

    def _champion(self) -> Path:
        """The champion's files, as they were registered. Raises TamperedModel, MlflowError."""
        query = {"name": self.model, "version": self.champion}
        what = f"version {self.champion} of {self.model}"
        uri = self.access.mlflow.api("model-versions/get-download-uri", query).get("artifact_uri", "")
        place, target = self.access.mlflow.place(str(uri), what), self.directory / "champion" / "model"
        files = [name for name in self.access.files(place) if not is_ignored(name)]
        hashes = {name: self.access.mlflow.save(f"{place}/{name}", target / name) for name in files}
        wanted = tags_of(self.access.mlflow.version(self.model, self.champion)).get(DIGEST_TAG, "")
        found = digest_of_files(hashes)
        if found != wanted:
            raise TamperedModel(f"{what} has the hash {found}, and was registered with {wanted or 'none'}: not loaded")
        return target

    def _tag(self, tags: Mapping[str, str]) -> None:
        self.access.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _log(self, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [LoggedMetric(name, value, now, 0) for name, value in values.items()]
        self.access.client.log_batch(self.run_id, metrics=metrics)


class _TrialRuns:
    """Trials as nested runs."""

    def __init__(self, access: Access, experiment_id: str, parent: str, name: str) -> None:
        self._client = access.client
        self._experiment_id = experiment_id
        self._parent = parent
        self._name = name

    def begin(self, number: int, parameters: Mapping[str, Any]) -> str:
        tags = {_PARENT_RUN: self._parent, "mlops.trial": str(number)}
        run = self._client.create_run(self._experiment_id, tags=tags, run_name=f"trial-{number}")
        run_id = str(run.info.run_id)
        self._client.log_batch(run_id, params=[Param(key, str(value)) for key, value in parameters.items()])
        return run_id

    def end(self, handle: str, value: float | None, problem: str) -> None:
        if value is None:
            self._client.set_tag(handle, "mlops.problem", problem[:5000])
        else:
            self._client.log_metric(handle, self._name, value)
        self._client.set_terminated(handle, "FAILED" if value is None else "FINISHED")


def _score(
    fit: Callable[..., Any], parameters: Mapping[str, Any], data: Data, learnt: Any, tried: Any, by: Metric
) -> float:
    predictor = of_estimator(fit(data.train.iloc[learnt], **parameters))
    rows = data.train.iloc[tried]
    value, problem = by.of(rows[data.target].to_numpy(), predictor(rows[data.features]))
    if problem:
        raise ValueError(f"{by.name} isn't defined: {problem}")
    return value


def _folds(data: Data, folds: int, seed: int) -> Iterator[tuple[Any, Any]]:
    """Places of rows to learn from and to be tried on; each class in all folds, where there are classes."""
    target = data.train[data.target]
    is_regression = pd.api.types.is_float_dtype(target) and bool((target != np.floor(target)).any())
    if not is_regression and target.value_counts().min() >= folds:
        yield from StratifiedKFold(folds, shuffle=True, random_state=seed).split(data.train, target.astype(str))
    else:
        yield from KFold(folds, shuffle=True, random_state=seed).split(data.train)


def _experiment(access: Access, name: str) -> str:
    access.mlflow.experiment(name)
    found = access.mlflow.api("experiments/get-by-name", {"experiment_name": name})
    return str(found["experiment"]["experiment_id"])


def _end_children(access: Access, experiment: str, parent: str) -> None:
    """Trials that a broken-off attempt has left running."""
    filter_ = f"attributes.status = 'RUNNING' and tags.`{_PARENT_RUN}` = '{parent}'"
    for run in access.client.search_runs([experiment], filter_):
        access.client.set_terminated(run.info.run_id, "KILLED")


def _span(champion: Mapping[str, Any]) -> dict[str, str]:
    """What of the stream is new to this version's successor, as tags."""
    made = datetime.fromtimestamp(int(champion["creation_timestamp"]) / 1000, UTC).isoformat()
    # Rows before the champion's own training may have got their labels only now: what was used is known.
    since = tags_of(champion).get(registration.SINCE) or made
    return {registration.SINCE: since, registration.UNTIL: datetime.now(UTC).isoformat()}


def _read(lock: Path) -> str:
    try:
        text = lock.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"the lock {lock.name} can't be read: {error}") from error
    if not text.strip():
        raise PipelineError(f"the lock {lock.name} is empty")
    return text


def _flow_run() -> str:
    """The id of Prefect's flow run. Raises PipelineError outside of one."""
    found = None
    if "prefect" in sys.modules:
        from prefect.runtime import flow_run

        found = flow_run.id
    if not found:
        raise PipelineError("a retraining needs an episode, which it is found again by")
    return str(found)


def _flow_parameters() -> str:
    """Of Prefect's flow run, as a tag has them; empty outside of one."""
    if "prefect" not in sys.modules:
        return ""
    from prefect.runtime import flow_run

    return repetition.parameters_of(flow_run.parameters) if flow_run.id else ""
