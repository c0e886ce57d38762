# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The shell steps of the CI templates' test job, as they stand there, in a repository of a model's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from checkout import ROOT

WORKFLOW = ROOT / "examples/ci/github/.github/workflows/model.yml"
WRAPPER = """
from mlops_runtime.serving import MLflowModel


class Cautious(MLflowModel):
    def __init__(self, threshold=0.5):
        super().__init__(method="predict_proba")
        self.threshold = threshold

    def tags(self):
        return {"threshold": self.threshold}
"""


def steps() -> list[str]:
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["test"]
    return [step["run"] for step in job["steps"] if "check_model.py" in step.get("run", "")]


def git(directory: Path, *arguments: str) -> None:
    names = {f"GIT_{who}_{what}": "ci@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=directory, env={**os.environ, **names}, check=True, capture_output=True)


def step(directory: Path, name: str) -> tuple[int, str]:
    """A step of the test job as the CI runs it: its exit code, and what it prints."""
    (command,) = [one for one in steps() if f"check_model.py {name} " in one]
    declared = yaml.safe_load(WORKFLOW.read_text())["env"]
    done = subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=directory,
        env={**os.environ, **declared, "CONTROL": sys.executable},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def repository(example: Path, tmp_path: Path) -> Path:
    """The example as a repository of its own, trained, and the collection beside it as the workflow checks it out."""
    made = tmp_path / "landcover"
    shutil.copytree(example, made, ignore=shutil.ignore_patterns("__pycache__"))
    (made / ".gitignore").write_text("build/\n__pycache__/\n")
    (made / ".mlops").symlink_to(ROOT)
    git(made, "init", "--quiet")
    git(made, "add", "--all", "--", ":!.mlops")
    git(made, "commit", "--quiet", "--message", "A model")
    return made


def test_the_example_passes(repository: Path) -> None:
    answers = {name: step(repository, name) for name in ("declaration", "train", "wrapper", "flow")}
    assert {name: code for name, (code, _) in answers.items()} == dict.fromkeys(answers, 0), answers
    assert '"names":["brickface","cement","foliage","grass","path","sky","window"]' in answers["wrapper"][1]
    assert "retrain is a flow" in answers["flow"][1]


def test_what_is_not_committed_would_not_be_what_runs(repository: Path) -> None:
    (repository / "flows.py").write_text((repository / "flows.py").read_text() + "# changed\n")
    git(repository, "commit", "--quiet", "--all", "--message", "A change")
    assert step(repository, "flow")[0] == 0
    (repository / "more.py").write_text("")
    code, told = step(repository, "flow")
    assert code == 1 and "isn't what is committed: more.py" in told


def test_a_flow_that_cannot_be_imported_fails(repository: Path) -> None:
    flows = repository / "flows.py"
    flows.write_text(flows.read_text().replace("from train import", "import nothing_like_it\nfrom train import"))
    git(repository, "commit", "--quiet", "--all", "--message", "A change")
    code, told = step(repository, "flow")
    assert code == 1 and "nothing_like_it" in told


def test_a_class_of_ones_own_is_loaded_and_asked(repository: Path) -> None:
    declared = yaml.safe_load((repository / "model.yml").read_text())
    declared.pop("method")
    declared |= {"class": {"name": "cautious.Cautious", "code": "src"}, "parameters": {"threshold": 0.7}}
    (repository / "model.yml").write_text(yaml.safe_dump(declared))
    (repository / "src").mkdir()
    (repository / "src/cautious.py").write_text(WRAPPER)
    code, told = step(repository, "wrapper")
    assert code == 0 and '"tags":{"threshold":0.7}' in told, told
    (repository / "src/cautious.py").write_text(
        WRAPPER.replace("super().__init__(", "super().__init__(no_such_thing, ")
    )
    code, told = step(repository, "wrapper")
    assert code == 1 and "no_such_thing" in told


def test_a_lock_without_what_the_model_needs_fails(repository: Path) -> None:
    text = (repository / "requirements.txt").read_text()
    begin = text.index("skops==")
    (repository / "requirements.txt").write_text(text[:begin])
    code, told = step(repository, "wrapper")
    assert code == 1 and "skops" in told, told
