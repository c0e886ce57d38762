# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Retrainings of the example against a real registry: what is on the new version, who wins, and what moves."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.sklearn
import pandas as pd
import pytest
from _model_spec import lock_digest
from mlflow.models import infer_signature
from mlops_runtime.contracts.digest import file_digest, tree_digest
from mlops_runtime.contracts.mlflow import MlflowError
from mlops_runtime.drift.artefact import load
from mlops_runtime.pipelines import Retraining, registration, retraining
from mlops_runtime.pipelines.datasets import datasets_of, frame_of
from mlops_runtime.pipelines.errors import (
    MissingDataset,
    NoChampion,
    NotRepeated,
    NoTrial,
    PipelineError,
    TamperedDataset,
    TamperedModel,
    TooFewLabels,
)
from mlops_runtime.pipelines.promotion import Promotion
from optuna.distributions import FloatDistribution
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

ROOT = Path(__file__).resolve().parents[3]
TARGET = "is_phishing"
SPACE = {"C": FloatDistribution(0.1, 10, log=True)}


def fit(train: pd.DataFrame, C: float = 1.0) -> Pipeline:
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(C=C, max_iter=1000))
    return model.fit(train.drop(columns=TARGET).to_numpy(), train[TARGET])


def save(model: Pipeline, train: pd.DataFrame, directory: Path) -> Path:
    features = train.drop(columns=TARGET)
    mlflow.sklearn.save_model(
        model,
        directory,
        serialization_format="skops",
        signature=infer_signature(features, model.predict_proba(features.to_numpy())),
        pip_requirements=["scikit-learn"],
    )
    return directory


def episode() -> str:
    return f"episode-{uuid.uuid4().hex[:10]}"


def retrain(
    model: Any,
    name: str = "",
    *,
    trials: int = 2,
    before: Callable[[Retraining, str], None] = lambda run, step: None,
    lock: Path | None = None,
    repeats: str = "",
    **given: Any,
) -> Promotion:
    """A whole retraining, as the example's flow is one; `before` is called before each step."""
    with retraining(model.name, "1", name or episode(), target=TARGET, repeats=repeats) as run:
        before(run, "data")
        data = run.data(**given)
        parameters = run.tune(fit, SPACE, data, trials=trials, parallel=2)
        challenger = save(fit(data.train, **parameters), data.train, run.directory / "challenger")
        before(run, "judge")
        verdict = run.judge(challenger, data)
        before(run, "register")
        watch = {"window": 200}
        made = run.register(challenger, data, verdict, parameters=parameters, performance=watch, requirements=lock)
        before(run, "promote")
        return run.promote(made)


@pytest.fixture
def model(site: Any, access: Any) -> Any:
    return site.model()


def test_better_on_new_pages_and_good_on_old_ones_it_becomes_champion(site: Any, access: Any, model: Any) -> None:
    model.ask(site.campaign())
    name = episode()
    made = retrain(model, name, trials=3)
    assert (made.outcome, made.version, model.champion) == ("promoted", "2", "2")

    tags, old = model.tags("2"), model.tags("1")
    root = model.artefacts("2")
    assert tags["mlops.environment"] == old["mlops.environment"] and tags["mlops.image"] == old["mlops.image"]
    assert (tags["mlops.episode"], tags["mlops.parent"], tags["mlops.gate"]) == (name, "1", "won")
    assert tags["mlops.previous_champion"] == "1" and tags["mlops.pipeline"] == "the-pipelines-version"
    assert {"key": "mlops.previous_champion", "value": "1"} in model.registered["tags"]
    assert tags["mlops.promotion"].startswith("promoted: version 2 has won against version 1")

    # Laid out as site.yml lays one out: found by the module by its content, and unchanged by a second registration.
    stored = root.parents[1] / "models" / model.version("2")["source"].removeprefix("models:/") / "artifacts"
    assert tree_digest(stored) == tags["mlops.sha256"]
    found = site.call("mlflow_model_version", name=model.name, path=str(stored))
    assert not found["changed"] and found["model_version"]["version"] == "2"

    hashes = json.loads(tags["mlops.datasets"])
    files = {"train": "train/train", "old": "test/old", "new": "test/new"}
    assert hashes == {name: file_digest(root / "datasets" / f"{path}.parquet") for name, path in files.items()}
    inputs = model.run("2")["inputs"]["dataset_inputs"]
    assert {one["dataset"]["name"] for one in inputs} == set(files)
    assert {(one.name, one.context) for one in datasets_of(access, model.name, "2")} == {
        ("train", "train"), ("old", "test"), ("new", "test")
    }  # fmt: skip

    manifest = json.loads((root / "gate.json").read_text())
    assert manifest["won"] and manifest["holdout"] == tags["mlops.holdout"] and manifest["rows"]["old"] == 250
    artefact = load(root / "drift", model=model.name, sha256=tags["mlops.drift.sha256"])
    assert [detector.kind for detector in artefact.detectors] == ["ewma", "rff"] and artefact.performance

    run = model.episode(name)
    assert run["info"]["status"] == "FINISHED" and run["tags"]["mlops.outcome"] == "promoted"
    metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert metrics["gate_gain"] > 0.2 and metrics["rows_old"] == 250 and metrics["rows_new"] == 180
    trials = [one for one in model.runs() if one["info"]["run_id"] != run["info"]["run_id"]]
    assert len(trials) == 3 and all(one["data"]["params"][0]["key"] == "C" for one in trials)
    assert all(one["data"]["metrics"][0]["key"] == "f1" for one in trials)


def test_another_lock_wants_an_image_and_the_same_one_does_not(
    site: Any, access: Any, model: Any, tmp_path: Path
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text((ROOT / "examples/phishing/requirements.txt").read_text())
    with pytest.raises(PipelineError, match=r"the lock names no requirement"):
        registration.environment(access, model.name, "1", "# nothing\n")
    model.ask(site.campaign())
    assert retrain(model, lock=lock).version == "2"
    old, tags = model.tags("1"), model.tags("2")
    assert tags["mlops.image.from"] == old["mlops.image"] and "mlops.image" not in tags
    assert tags["mlops.environment"] not in ("", old["mlops.environment"])
    kept = (model.artefacts("2") / "environment/requirements.txt").read_text()
    assert kept == lock.read_text() and lock_digest(kept) == tags["mlops.requirements"]

    # While its image is yet to be made, the next one with the same lock waits for the same image.
    model.ask(site.campaign(150, seed=9), first=1000)
    lock.write_text("# made anew\n" + kept)
    assert retrain(model, lock=lock).version == "3"
    inherited = ("mlops.environment", "mlops.image.from", "mlops.requirements")
    assert [model.tags("3").get(key) for key in inherited] == [tags[key] for key in inherited]
    assert (model.artefacts("3") / "environment/requirements.txt").read_text() == kept

    # And once it is there, what is retrained without another lock runs in it.
    access.client.set_model_version_tag(model.name, model.champion, "mlops.image", "registry:5000/model@sha256:02")
    model.ask(site.campaign(150, seed=11), first=2000)
    assert retrain(model).version == "4"
    assert model.tags("4")["mlops.image"] == "registry:5000/model@sha256:02"
    assert not (model.artefacts("4") / "environment").exists()


def test_the_next_retraining_goes_on_from_there(site: Any, access: Any, model: Any, tmp_path: Path) -> None:
    pages = site.campaign(200)
    model.ask(pages[:300])
    model.ask(pages[300:], labelled=False, first=300)
    assert retrain(model).moved
    first = {context: frame_of(access, model.name, "2", context, tmp_path / context) for context in ("train", "test")}
    model.ask(site.campaign(150, seed=9), first=1000)
    assert retrain(model).version == "3"
    second = {context: frame_of(access, model.name, "3", context, tmp_path / f"{context}3") for context in first}
    old = second["test"].index
    assert set(first["test"].index) <= set(old) and not set(old) & set(second["train"].index)
    assert set(first["train"].index) <= set(second["train"].index)
    new = (set(old) | set(second["train"].index)) - set(first["test"].index) - set(first["train"].index)
    assert new == {f"id-{number}/0" for number in range(1000, 1300)}
    assert model.tags("3")["mlops.parent"] == "2"


def test_a_run_repeated_from_its_tags_finds_the_same_and_moves_nothing(site: Any, model: Any) -> None:
    model.ask(site.campaign())
    retrain(model, trials=3)
    before = model.run("2")
    # Meanwhile there are more labels, and another champion.
    model.ask(site.campaign(150, seed=9), first=1000)
    assert retrain(model).version == "3"
    champion, versions = model.champion, len(model.versions)
    again = episode()
    made = retrain(model, again, trials=3, repeats="2")
    assert (made.outcome, made.version) == ("repeated", "2")
    assert (model.champion, len(model.versions)) == (champion, versions)
    run, tags = model.episode(again), model.tags("2")
    assert (run["tags"]["mlops.outcome"], run["tags"]["mlops.repeats"]) == ("repeated", "2")
    for tag in ("mlops.holdout", "mlops.stream.since", "mlops.stream.until", "mlops.pipeline"):
        assert run["tags"][tag] == tags[tag]
    metrics = [{one["key"]: one["value"] for one in found["data"]["metrics"]} for found in (before, run)]
    assert metrics[0] == metrics[1] and "gate_gain" in metrics[0] and "tuned_f1" in metrics[0]


def test_a_run_that_is_not_the_same_is_not_said_to_be(site: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model.ask(site.campaign())
    retrain(model, trials=3)
    again = episode()
    with pytest.raises(NotRepeated, match=r"trials was 3 and is 2"):
        retrain(model, again, trials=2, repeats="2")
    assert model.episode(again)["tags"]["mlops.outcome"] == "not_repeated"
    with pytest.raises(PipelineError, match=r"version 1 .* wasn't made by a retraining"):
        retrain(model, repeats="1")
    monkeypatch.setenv("MLOPS_PIPELINE", "another-pipeline")
    with pytest.raises(PipelineError, match="made by the pipeline the-pipelines-version, and this is another-pipeline"):
        retrain(model, repeats="2")
    assert model.champion == "2" and len(model.versions) == 2


def test_worse_on_old_pages_it_is_a_version_and_nothing_moves(site: Any, access: Any) -> None:
    model = site.model(gate={"metric": "f1", "maximum_loss": 0.01})
    model.ask(site.campaign())
    made = retrain(model)
    assert made.outcome == "refused" and not made.moved
    assert (model.champion, model.versions) == ("1", ["1", "2"])
    assert model.tags("2")["mlops.gate"] == "lost"
    reasons = json.loads((model.artefacts("2") / "gate.json").read_text())["reasons"]
    assert "and not at most 0.01" in reasons[1]


def test_a_person_promotes_where_the_declaration_says_so(site: Any, access: Any) -> None:
    model = site.model(promotion="manual", gate={"metric": "log_loss", "maximum_loss": 9})
    model.ask(site.campaign())
    made = retrain(model)
    assert (made.outcome, model.champion, model.tags("2")["mlops.gate"]) == ("manual", "1", "won")


def test_an_alias_that_somebody_has_moved_meanwhile_stays(site: Any, access: Any, model: Any, tmp_path: Path) -> None:
    model.ask(site.campaign())
    other = tmp_path / "other"
    shutil.copytree(site.build / "model", other)
    (other / "note.txt").write_text("somebody's own")

    def meanwhile(run: Retraining, step: str) -> None:
        if step == "promote":
            site.call("mlflow_model_version", name=model.name, path=str(other))
            model.move("3")

    made = retrain(model, before=meanwhile)
    assert made.outcome == "superseded" and "version 1 when the run began, and version 3" in made.reason
    assert model.champion == "3" and model.tags("2")["mlops.promotion"].startswith("superseded")


def test_files_that_a_user_brings_are_new_rows(site: Any, access: Any, model: Any, tmp_path: Path) -> None:
    site.campaign().to_csv(tmp_path / "new.csv", index=False)
    assert retrain(model, files=[tmp_path / "new.csv"], archive=False).moved
    with pytest.raises(TooFewLabels, match="0 labelled rows in files"):
        retrain(model, files=[tmp_path / "new.csv"], archive=False)


# What ends without a version


def outcome(model: Any, name: str) -> tuple[str, str, str]:
    run = model.episode(name)
    return run["info"]["status"], run["tags"]["mlops.outcome"], run["tags"]["mlops.problem"]


def test_too_few_labels_are_an_outcome_with_a_name(site: Any, access: Any, model: Any) -> None:
    model.ask(site.campaign(50), labelled=False)
    model.ask(site.campaign(10), first=500)
    name = episode()
    with pytest.raises(TooFewLabels, match=r"20 labelled rows in the stream since .*\(120 archived, 100 without"):
        retrain(model, name)
    status, found, problem = outcome(model, name)
    assert (status, found) == ("FAILED", "too_few_labels") and "51 are needed" in problem
    assert model.versions == ["1"]


@pytest.mark.parametrize("which", ["train/train.csv", "test/test.csv", "manifest.json"])
def test_a_dataset_that_was_changed_is_refused(site: Any, access: Any, model: Any, which: str) -> None:
    model.ask(site.campaign())
    path = model.artefacts("1") / "datasets" / which
    if which == "manifest.json":  # a file of the attacker's own, with its hash beside it
        other = path.parent / "train" / "other.csv"
        other.write_bytes((path.parent / "train" / "train.csv").read_bytes()[:-4] + b",1\n")
        path.write_text(path.read_text().replace("train.csv", "other.csv"))
    else:
        path.write_bytes(path.read_bytes().replace(b"0.5", b"1.0", 1))
    name = episode()
    with pytest.raises(TamperedDataset, match="and was registered with"):
        retrain(model, name)
    assert outcome(model, name)[1] == "tampered_dataset" and model.versions == ["1"]


def test_an_archive_that_was_changed_is_refused(site: Any, access: Any, model: Any) -> None:
    model.ask(site.campaign())
    for path in (site.mlflow.directory / "artifacts").rglob(f"stream/{model.name}/records/**/*.parquet"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(TamperedDataset, match="the archived stream"):
        retrain(model)


def test_a_champion_that_was_changed_is_not_loaded(site: Any, access: Any, model: Any) -> None:
    model.ask(site.campaign())
    stored = model.artefacts("1").parents[1] / "models" / model.version("1")["source"].removeprefix("models:/")
    (stored / "artifacts" / "model.skops").write_bytes(b"another")
    with pytest.raises(TamperedModel, match="not loaded"):
        retrain(model)
    assert model.versions == ["1"]


def test_what_is_missing_is_named(site: Any, access: Any, model: Any) -> None:
    (model.artefacts("1") / "datasets" / "test" / "test.csv").unlink()
    with pytest.raises(MissingDataset, match=r"the dataset test \(test\) of version 1 .* is gone"):
        retrain(model)
    with (
        pytest.raises(NoChampion, match="no registered model m-none"),
        retraining("m-none", target=TARGET, episode="e"),
    ):
        pass
    with pytest.raises(PipelineError, match="needs an episode"), retraining(model.name, target=TARGET):
        pass


def test_a_champion_without_datasets_needs_them_from_the_flow(site: Any, access: Any) -> None:
    model = site.model(datasets=False)
    model.ask(site.campaign())
    with pytest.raises(MissingDataset, match="was registered without datasets"):
        retrain(model)
    assert retrain(model, train=site.train, test=site.test).moved


def test_trials_that_fail_are_runs_that_failed(site: Any, access: Any, model: Any) -> None:
    model.ask(site.campaign())

    def broken(train: pd.DataFrame, C: float) -> Pipeline:
        raise ValueError(f"no model for {C}")

    name = episode()
    reason = "all 2 trials failed; the first one: ValueError: no model"
    with pytest.raises(NoTrial, match=reason), retraining(model.name, "1", name, target=TARGET) as run:
        run.tune(broken, SPACE, run.data(), trials=2)
    trials = [one for one in model.runs() if one["info"]["run_id"] != run.run_id]
    assert [one["info"]["status"] for one in trials] == ["FAILED", "FAILED"]
    assert outcome(model, name)[1] == "no_trial_succeeded"


# Broken off, and tried again


@pytest.mark.parametrize("step", ["judge", "register", "promote"])
def test_a_retraining_that_was_broken_off_makes_one_version(site: Any, access: Any, model: Any, step: str) -> None:
    model.ask(site.campaign())
    name = episode()

    def breaks(_run: Retraining, now: str) -> None:
        if now == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrain(model, name, before=breaks)
    before = model.episode(name)
    assert before["info"]["status"] == "KILLED"
    assert retrain(model, name).moved
    assert retrain(model, name).moved, "once more, when all is done"
    assert (model.versions, model.champion) == (["1", "2"], "2")
    after = model.episode(name)
    assert after["info"]["run_id"] == before["info"]["run_id"] and after["info"]["status"] == "FINISHED"
    assert after["tags"]["mlops.stream.until"] == before["tags"]["mlops.stream.until"]
    assert after["tags"]["mlops.champion"] == "1"


@pytest.mark.parametrize("answered", [False, True])
def test_a_version_whose_creation_broke_is_made_once(
    site: Any, access: Any, model: Any, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """Before the registry was asked, and after it had done it and its answer was lost."""
    model.ask(site.campaign())
    name = episode()

    def cut(run: Retraining, step: str) -> None:
        if step == "register":
            asked = run.access.mlflow.api

            def api(path: str, query: Any = None, body: Any = None) -> dict[str, Any]:
                if path != "model-versions/create":
                    return asked(path, query, body)
                if answered:
                    asked(path, query, body)
                raise MlflowError("half an answer", passing=True)

            monkeypatch.setattr(run.access.mlflow, "api", api)

    with pytest.raises(MlflowError):
        retrain(model, name, before=cut)
    assert retrain(model, name).moved and model.versions == ["1", "2"]
    run = model.episode(name)["info"]
    body = {"experiment_ids": [run["experiment_id"]], "filter": f"source_run_id = '{run['run_id']}'"}
    kept = site.mlflow.api("POST", "logged-models/search", body)["models"]
    assert [f"models:/{one['info']['model_id']}" for one in kept] == [model.version("2")["source"]]
