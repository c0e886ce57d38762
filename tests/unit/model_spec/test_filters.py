# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The filters: declarations in files, all problems at once, what is served, and the curl line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.onprem.plugins.plugin_utils import model_filters as subject

REFERENCES = {"model-1": "r/model-1@sha256:1"}


def version(number: str, *aliases: str, image: str = "model-1", **tags: str) -> dict[str, Any]:
    return {
        "name": "iris",
        "version": number,
        "aliases": list(aliases),
        "sha256": f"digest-{number}",
        "tags": {"mlops.environment": image, **tags},
    }


def served(registered: dict[str, Any] | None, aliases: dict[str, str], *others: dict[str, Any]) -> dict[str, Any]:
    plan = [{"name": "iris", "image": "model-1"}]
    versions = [] if registered is None else [{"item": plan[0], "model_version": registered}]
    models = [{"item": plan[0], "registered_model": {"aliases": aliases}}]
    return subject.model_served(plan, versions, models, [{"model_versions": list(others)}], REFERENCES)


def test_a_file_holds_one_declaration_and_its_paths_count_from_it(declared: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model.yml").write_text(yaml.safe_dump(declared))
    assert subject.model_problems(["model.yml"], str(tmp_path)) == []
    (plan,) = subject.model_plan([f"{tmp_path}/model.yml"], "/elsewhere")
    assert plan["source"]["path"] == str(tmp_path / "model")
    assert plan["ready"] and plan["prepare"] == {}


def test_what_is_wrong_in_the_declaration_and_on_disk_comes_at_once(declared: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("a: [")
    models = ["no.yml", "bad.yml", {**declared, "name": "A B", "requirements": "no.txt"}, {**declared, "name": "b"}] * 2
    found = subject.model_problems(models, str(tmp_path))
    assert [line.split(": ")[0].removeprefix("mlops_models") for line in found] == [
        "[0]", "[1]", "[2].name", "[4]", "[5]", "[6].name", "[6].name", "[7].name",
        "[2].requirements", "[6].requirements",
    ]  # fmt: skip


@pytest.mark.parametrize("models", ["text", {"a": 1}, None, 3])
def test_the_variable_has_to_be_a_list(models: Any) -> None:
    assert "must be a list of models" in subject.model_problems(models, "/")[0]


def test_an_unsound_declaration_is_no_plan(declared: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(AnsibleFilterError, match="replicas"):
        subject.model_plan([{**declared, "replicas": "many"}], str(tmp_path))


def test_images_are_rows_of_the_table_with_the_models_files(declared: dict[str, Any], tmp_path: Path) -> None:
    table = {
        "model_server": {
            "version": "1",
            "build": {"context": "x", "files": {"a": "b"}, "base": ["base", "python_build"]},
        },
        "seldon_core": {"version": "2", "build": {"context": "y", "base": ["base", "python_build"]}},
    }
    models = [
        declared,
        {**declared, "name": "twin"},
        {**declared, "name": "other", "python": "python313"},
    ]
    images = subject.model_images(models, str(tmp_path), table)
    assert len(images) == 2
    first, second = images.values()
    assert first["build"]["files"] == {
        "a": "b",
        "requirements.txt": {"content": "numpy==2.0.0 --hash=sha256:aa --hash=sha256:bb\n"},
    }
    assert second["build"]["base"] == ["python313", "python_build"]
    assert table["model_server"]["build"]["files"] == {"a": "b"}


def test_the_champion_is_served() -> None:
    assert served(version("2", "champion"), {"champion": "2"})["iris"] == {
        "version": "2",
        "image": "model-1",
        "reference": "r/model-1@sha256:1",
        "sha256": "digest-2",
    }


def test_the_champion_may_be_another_version_with_an_image_of_its_own() -> None:
    other = version("1", "champion", image="model-0", **{"mlops.image": "r/model-0@sha256:0"})
    found = served(version("2"), {"champion": "1"}, other)["iris"]
    assert (found["version"], found["reference"]) == ("1", "r/model-0@sha256:0")


def test_without_a_champion_nothing_is_served() -> None:
    assert served(version("2"), {}) == {}


def test_a_champion_of_unknown_environment_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"version 1 of iris is champion, and its tags mlops\.environment"):
        served(version("2"), {"champion": "1"}, version("1", "champion", image=""))


def test_a_champion_whose_image_is_being_made_is_waited_for_or_refused() -> None:
    being_made = version("1", "champion", image="model-0", **{"mlops.image.from": "r/model-1@sha256:1"})
    assert subject.model_unbuilt([being_made]) == ["iris 1"] and subject.model_unbuilt([]) == []
    with pytest.raises(AnsibleFilterError, match="its lock has no image: the image builder has not made it"):
        served(version("2"), {"champion": "1"}, being_made)
    failed = version(
        "1",
        "champion",
        image="model-0",
        **{"mlops.image.from": "r/model-1@sha256:1", "mlops.image.problem": "no numpy"},
    )
    assert subject.model_unbuilt([failed]) == []
    with pytest.raises(AnsibleFilterError, match="its lock has no image: no numpy; declare"):
        served(version("2"), {"champion": "1"}, failed)
    made = version(
        "1", "champion", image="model-0", **{"mlops.image.from": "r/m@sha256:1", "mlops.image": "r/m@sha256:2"}
    )
    assert subject.model_unbuilt([made]) == []
    assert served(version("2"), {"champion": "1"}, made)["iris"]["reference"] == "r/m@sha256:2"


def test_what_is_no_longer_declared() -> None:
    registered = [
        {"name": "iris", "tags": {"mlops.spec": "{}"}},
        {"name": "gone", "tags": {"mlops.spec": '{"name":"gone"}'}},
        {"name": "gone-before", "tags": {"mlops.spec": ""}},
        {"name": "somebody-else-s", "tags": {}},
    ]
    assert subject.model_undeclared(registered, [{"name": "iris"}]) == ["gone"]
    assert subject.model_undeclared(registered, []) == ["iris", "gone"]
    assert subject.model_undeclared([], [{"name": "iris"}]) == []


def test_what_check_mode_can_not_register_yet() -> None:
    assert served(None, {})["iris"]["version"] == "new"


def test_the_curl_line_asks_with_the_input_example(declared: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model/input_example.json").write_text('{"columns": ["a\'b", "c"], "data": [[1.5, "x"], [2, "y"]]}')
    (found,) = subject.model_summary([declared], str(tmp_path), "mlops", "http://localhost:8080/")
    assert found["url"] == "http://localhost:8080/seldon/mlops/iris/api/v1.0/predictions"
    words = shlex.split(found["curl"])
    assert words[:3] == ["curl", "-s", found["url"]]
    assert json.loads(words[-1]) == {"data": {"names": ["a'b", "c"], "ndarray": [[1.5, "x"]]}}


def test_the_curl_line_trusts_the_sites_authority(declared: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model/input_example.json").write_text("[[1, 2]]")
    (found,) = subject.model_summary([declared], str(tmp_path), "mlops", "https://localhost", "/site/my tls/ca.pem")
    assert shlex.split(found["curl"])[:4] == ["curl", "-s", "--cacert", "/site/my tls/ca.pem"]


@pytest.mark.parametrize(
    ("kept", "data"),
    [
        ("[[1, 2], [3, 4]]", {"ndarray": [[1, 2]]}),
        ('{"inputs": "text"}', {}),
        ("not JSON", {}),
        (None, {}),
    ],
)
def test_input_examples_of_other_kinds(declared: dict[str, Any], tmp_path: Path, kept: str | None, data: Any) -> None:
    if kept is not None:
        (tmp_path / "model/input_example.json").write_text(kept)
    (found,) = subject.model_summary([declared], str(tmp_path), "mlops", "http://localhost")
    assert found["data"] == data
    assert bool(found["curl"]) == bool(data)


def test_the_declarations_own_example_comes_first(declared: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model/input_example.json").write_text("[[1, 2]]")
    declared["example"] = {"names": ["a"], "rows": [[7]]}
    (found,) = subject.model_summary([declared], str(tmp_path), "mlops", "http://localhost")
    assert found["data"] == {"names": ["a"], "ndarray": [[7]]}


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (None, "the controller doesn't know it yet"),
        ({"problem": "mlops.spec: is no declaration"}, "mlops.spec: is no declaration"),
        ({"spec": {"name": "iris", "replicas": 2}}, "the controller knows another declaration, or version 2"),
        ({"aliases": {}}, "version none in the place of 2"),
        ({"followed": False, "serves": {"champion": "1"}}, "version 2 should serve; now it is 1"),
        ({}, ""),
    ],
)
def test_what_the_controller_has_yet_to_do(model: dict[str, Any] | None, line: str) -> None:
    plan = [{"name": "iris", "spec": {"name": "iris"}}, {"name": "without", "spec": {}}]
    as_it_should_be = {
        "model": "iris", "problem": None, "spec": {"name": "iris"}, "followed": True,
        "aliases": {"champion": {"version": "2"}}, "serves": {"champion": "2"},
    }  # fmt: skip
    models = [] if model is None else [{**as_it_should_be, **model}]
    found = subject.model_lagging(plan, {"iris": {"version": "2"}}, models)
    assert len(found) == bool(line) and all(line in one for one in found)
