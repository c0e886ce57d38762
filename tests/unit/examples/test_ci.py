# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The CI templates: what is tested comes before what is deployed, and no secret stands in them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CI = ROOT / "examples" / "ci"
GITHUB, GITLAB = CI / "github/.github/workflows/model.yml", CI / "gitlab/.gitlab-ci.yml"
CHECKS = ["declaration", "train", "wrapper", "flow"]
PLAYBOOK = r"mlops/bin/playbook models -i site/inventory -e \"mlops_vault_key_file=\$\S+\""


def github() -> dict[str, Any]:
    return dict(yaml.safe_load(GITHUB.read_text()))


def gitlab() -> dict[str, Any]:
    return dict(yaml.safe_load(GITLAB.read_text()))


def shell(job: dict[str, Any]) -> list[str]:
    """The commands of a job of either kind."""
    steps = [step["run"] for step in job.get("steps", []) if "run" in step]
    return [line.strip() for line in [*steps, *job.get("before_script", []), *job.get("script", [])]]


def strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from strings(inner, f"{path}[{place}]")
    else:
        yield path, str(value)


@pytest.mark.parametrize("template", [github(), gitlab()], ids=["github", "gitlab"])
def test_both_test_the_same(template: dict[str, Any]) -> None:
    job = template.get("jobs", template)["test"]
    asked = [line for line in shell(job) if "check_model.py" in line]
    assert asked == [f'"$CONTROL" .mlops/examples/ci/check_model.py {check} "$DECLARATION"' for check in CHECKS]


def test_the_checks_are_those_that_there_are() -> None:
    spec = importlib.util.spec_from_file_location("check_model", CI / "check_model.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert list(module.CHECKS) == CHECKS


def test_nothing_is_deployed_at_github_that_has_not_passed() -> None:
    template = github()
    triggers = template["on"]
    assert set(triggers) == {"push", "pull_request"} and triggers["push"] == {"branches": ["main"]}
    test, deploy = template["jobs"]["test"], template["jobs"]["deploy"]
    assert deploy["needs"] == "test"
    # Without a status function a condition holds only where all that is needed has succeeded.
    assert deploy["if"] == "github.event_name == 'push' && github.ref == 'refs/heads/main'"
    assert not any("continue-on-error" in one for one in (test, deploy, *test["steps"], *deploy["steps"]))
    assert re.search(PLAYBOOK, shell(deploy)[-1])
    assert not any("secrets." in value for _, value in strings(test)), "what a pull request runs knows no secret"


def test_nothing_is_deployed_at_gitlab_that_has_not_passed() -> None:
    template = gitlab()
    test, deploy = template["test"], template["deploy"]
    assert template["stages"] == ["test", "deploy"] and deploy["needs"] == ["test"]
    (rule,) = deploy["rules"]
    assert rule == {"if": '$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $CI_PIPELINE_SOURCE == "push"'}
    assert not any(key in job for job in (test, deploy) for key in ("allow_failure", "when"))
    assert re.search(PLAYBOOK, shell(deploy)[-1])


@pytest.mark.parametrize("template", [github(), gitlab()], ids=["github", "gitlab"])
def test_secrets_come_from_the_cis_store(template: dict[str, Any]) -> None:
    for path, value in strings(template):
        if re.search(r"(?i)(token|password|secret|vault_key|ssh_key)$", path):
            assert re.fullmatch(r"\$\{\{ secrets\.[A-Z_]+ \}\}", value), path
        assert not re.search(r"PRIVATE KEY|[A-Za-z0-9+/_-]{40,}", re.sub(r"[\w.-]*/[\w./*-]*", "", value)), path


@pytest.mark.parametrize("template", [github(), gitlab()], ids=["github", "gitlab"])
def test_the_shell_is_sound(template: dict[str, Any]) -> None:
    for job in template.get("jobs", template).values():
        for command in shell(job) if isinstance(job, dict) else []:
            subprocess.run(["bash", "-n", "-c", command], check=True)


def test_what_is_to_be_set_is_explained() -> None:
    told = (CI / "README.md").read_text()
    used = set(re.findall(r"(?:vars|secrets)\.(MLOPS_[A-Z_]+)", GITHUB.read_text()))
    used |= set(re.findall(r"\$\{?(MLOPS_[A-Z_]+)", GITLAB.read_text())) - {"MLOPS_CACHE"}
    assert used and all(f"`{name}`" in told for name in used)


def test_gits_login_at_gitlab_is_the_jobs_own(tmp_path: Path) -> None:
    """GitLab makes `$` of `$$` in a variable's value."""
    given = {name: value.replace("$$", "$") for name, value in gitlab()["deploy"]["variables"].items()}
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CI_JOB_TOKEN": "of-the-job", **given}
    asked = "protocol=https\nhost=gitlab.example.org\n\n"
    found = subprocess.run(
        ["git", "credential", "fill"], input=asked, env=env, capture_output=True, text=True, check=True
    )
    assert "username=gitlab-ci-token\npassword=of-the-job\n" in found.stdout
