# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import ADMIN, PASSWORD, ROOT, Call, Proxy, Server

LOAD = """
import json, sys, mlflow, numpy
model = mlflow.pyfunc.load_model(sys.argv[1])
print(json.dumps({"y": [int(y) for y in model.predict(numpy.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.9]]))]}))
"""
READ = """
import json, sys, mlflow
client = mlflow.MlflowClient()
version = client.get_model_version("logged", "1")
run = mlflow.get_run(version.run_id)
inputs = run.inputs.dataset_inputs
sources = [mlflow.data.get_source(one.dataset) for one in inputs]
logged = mlflow.get_logged_model(version.source.rpartition("/")[2])
manifest = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/datasets/manifest.json")
print(json.dumps({
    "status": run.info.status,
    "params": run.data.params,
    "metrics": run.data.metrics,
    "names": [one.dataset.name for one in inputs],
    "contexts": [{tag.key: tag.value for tag in one.tags}["mlflow.data.context"] for one in inputs],
    "digests": [{tag.key: tag.value for tag in one.tags}["mlops.sha256"] for one in inputs],
    "data": [open(source.load()).read() for source in sources],
    "model": logged.status.name,
    "model_metrics": {one.key: [one.value, one.dataset_name] for one in logged.metrics},
    "versions": json.loads(logged.tags["mlflow.modelVersions"]),
    "drift": open(mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/drift/manifest.json")).read(),
    "report": open(mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/reports/report.txt")).read(),
    "manifest": [one["path"] for one in manifest["datasets"]],
}))
"""


def test_a_version_loads_by_mlflows_client_as_a_user_that_may_only_read(
    server: Server, call: Call, trained: Path
) -> None:
    made = call("mlflow_model_version", name="loads", path=str(trained / "model"))
    assert made["changed"] and made["registered"], made
    version = made["model_version"]
    assert (version["version"], version["uri"], version["status"]) == ("1", "models:/loads/1", "READY")
    told = subprocess.run(
        r"find . -type f -printf '%P\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum",
        shell=True, check=True, capture_output=True, text=True, cwd=trained / "model",
    ).stdout.split()[0]  # fmt: skip
    assert version["sha256"] == version["tags"]["mlops.sha256"] == told
    read = [{"resource": kind, "name": "*", "permission": "READ"} for kind in ("registered_model", "experiment")]
    users = [{"name": "reader", "password": "readers-password", "permissions": read}]
    assert call("mlflow_user", users=users)["changed"]
    local = server.python(LOAD, str(trained / "model"))
    for uri in ("models:/loads/1", f"runs:/{version['run_id']}/model", f"models:/{version['model_id']}"):
        assert server.python(LOAD, uri, user="reader", password="readers-password") == local


def test_the_same_content_is_the_same_version(call: Call, tiny: Path) -> None:
    options: dict[str, Any] = {"name": "same", "path": str(tiny), "tags": {"a": 1}, "aliases": ["champion"]}
    would = call("mlflow_model_version", check=True, **options)
    assert would["changed"] and would["registered"] and would["model_version"]["version"] is None
    assert call("mlflow_registered_model_info", name="same")["registered_models"] == []
    first = call("mlflow_model_version", **options)
    assert first["model_version"]["aliases"] == ["champion"]
    assert would["diff"]["after"] == first["diff"]["after"] | {"version": None}
    for check in (True, False):
        again = call("mlflow_model_version", check=check, **options)
        assert not again["changed"] and not again["registered"], again["diff"]
        assert again["model_version"]["version"] == "1"
        assert again["diff"]["before"] == again["diff"]["after"]
    (tiny / "__pycache__").mkdir()
    (tiny / "__pycache__" / "x.pyc").write_text("x")
    assert not call("mlflow_model_version", **options)["changed"]
    (tiny / "MLmodel").write_text("flavors: {}\n# retrained\n")
    second = call("mlflow_model_version", **options)
    assert second["registered"] and second["model_version"]["version"] == "2"
    assert second["model_version"]["aliases"] == []  # version 1 is champion, and nobody moved it
    (info,) = call("mlflow_model_version_info", name="same", alias="champion")["model_versions"]
    assert info["version"] == "1"
    both = call("mlflow_model_version_info", name="same")["model_versions"]
    assert [one["version"] for one in both] == ["2", "1"]
    by_digest = call("mlflow_model_version_info", name="same", sha256=second["model_version"]["sha256"])
    assert [one["version"] for one in by_digest["model_versions"]] == ["2"]


def test_what_changes_is_changed_in_place(call: Call, tiny: Path) -> None:
    options: dict[str, Any] = {"name": "places", "path": str(tiny)}
    call("mlflow_model_version", **options, tags={"a": "1", "b": "2"}, description="one")
    for check in (True, False):
        changed = call(
            "mlflow_model_version", check=check, **options, tags={"a": "9"}, purge_tags=True, description="two"
        )
        assert changed["changed"] and not changed["registered"]
        assert changed["diff"]["before"]["tags"] | {"x": 1} != changed["diff"]["after"]["tags"]
    (info,) = call("mlflow_model_version_info", name="places")["model_versions"]
    digest = info["sha256"]
    assert (info["tags"], info["description"]) == ({"a": "9", "mlops.sha256": digest}, "two")
    by_number = call("mlflow_model_version", name="places", version=1, tags={"c": {"x": [1]}})
    assert by_number["model_version"]["tags"]["c"] == '{"x":[1]}'
    assert not call("mlflow_model_version", name="places", sha256=digest, description="two")["changed"]


def test_an_alias_that_somebody_moved_or_removed_stays(server: Server, call: Call, tiny: Path) -> None:
    options: dict[str, Any] = {"name": "aliased", "path": str(tiny), "aliases": ["champion", "challenger"]}
    call("mlflow_model_version", **options)
    (tiny / "MLmodel").write_text("flavors: {}\n# another\n")
    call("mlflow_model_version", name="aliased", path=str(tiny))
    (tiny / "MLmodel").write_text(f"flavors: {{}}\nmodel_uuid: {tiny.parent.name}\n")
    server.api("POST", "registered-models/alias", {"name": "aliased", "alias": "champion", "version": "2"})
    server.api("DELETE", "registered-models/alias", {"name": "aliased", "alias": "challenger"})
    again = call("mlflow_model_version", **options)
    assert not again["changed"] and again["model_version"]["version"] == "1" and again["model_version"]["aliases"] == []
    more = call("mlflow_model_version", **(options | {"aliases": ["champion", "challenger", "shadow"]}))
    assert more["changed"] and more["model_version"]["aliases"] == ["shadow"]
    enforced = call("mlflow_model_version", **options, aliases_mode="enforce")
    assert enforced["changed"] and enforced["model_version"]["aliases"] == ["challenger", "champion", "shadow"]
    assert not call("mlflow_model_version", **options, aliases_mode="enforce")["changed"]


def test_datasets_params_and_metrics_go_with_it(server: Server, call: Call, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("all well")
    datasets: list[dict[str, Any]] = [
        {"name": "phishing", "context": "train", "path": str(trained / "train.csv"),
         "schema": [{"name": "url_length", "type": "double"}], "profile": {"num_rows": 2}},
        {"name": "phishing", "context": "test", "path": str(trained / "test.csv")},
    ]  # fmt: skip
    made = call(
        "mlflow_model_version",
        name="logged",
        path=str(trained / "model"),
        datasets=datasets,
        params={f"p{number}": number for number in range(150)},
        metrics={"accuracy": 0.5},
        drift=str(trained / "drift"),
        artifacts=[{"path": str(tmp_path), "artifact_path": "reports"}],
    )
    seen = json.loads(server.python(READ))
    assert seen["digests"] == [dataset["sha256"] for dataset in made["datasets"]]
    assert seen["names"] == ["phishing"] * 2 and seen["contexts"] == ["train", "test"]
    assert seen["data"] == [(trained / name).read_text() for name in ("train.csv", "test.csv")]
    assert seen["status"] == "FINISHED" and seen["model"] == "READY" and seen["report"] == "all well"
    assert seen["drift"] == (trained / "drift/manifest.json").read_text()
    assert len(seen["params"]) == 150 and seen["metrics"] == {"accuracy": 0.5}
    assert seen["model_metrics"] == {"accuracy": [0.5, "phishing"]}
    assert seen["manifest"] == ["datasets/train/train.csv", "datasets/test/test.csv"]
    assert [(one["name"], str(one["version"])) for one in seen["versions"]] == [("logged", "1")]
    assert call("mlflow_model_version", name="logged", path=str(trained / "model"), datasets=datasets)["datasets"] == []


def test_from_runs_logged_models_and_versions(call: Call, server: Server, tiny: Path) -> None:
    origin = call("mlflow_model_version", name="origin", path=str(tiny))["model_version"]
    sources: list[dict[str, Any]] = [
        {"run_id": origin["run_id"], "artifact_path": "model"},
        {"source": f"runs:/{origin['run_id']}/model"},
        {"source": f"models:/{origin['model_id']}"},
        {"source": "models:/origin/1"},
    ]
    for number, source in enumerate(sources):
        made = call("mlflow_model_version", name=f"from-{number}", **source)
        assert made["registered"] and made["model_version"]["sha256"] == origin["sha256"], made
        again = call("mlflow_model_version", name=f"from-{number}", **source)
        assert not again["changed"], again
    for source in sources:  # the same content by any address is the same version
        assert not call("mlflow_model_version", name="from-0", **source)["changed"]
    wrong = call("mlflow_model_version", name="from-9", **sources[0], sha256="0" * 64)
    assert wrong["failed"] and f"has the tree digest {origin['sha256']}, not 000" in wrong["msg"]
    assert "from-9" not in server.state()["registered_models"]


def test_from_a_run_of_the_old_kind(server: Server, call: Call, trained: Path) -> None:
    log = "run = mlflow.start_run(); mlflow.log_artifacts(sys.argv[1], 'm/odel'); print(run.info.run_id)"
    code = f"import sys, mlflow; {log}"
    run_id = server.python(code, str(trained / "model")).split()[0]
    made = call("mlflow_model_version", name="old", source=f"runs:/{run_id}/m/odel")
    assert made["model_version"]["run_id"] == run_id
    assert server.python(LOAD, "models:/old/1") == server.python(LOAD, str(trained / "model"))
    by_proxy = call("mlflow_model_version", name="old-2", source=made["model_version"]["source"])
    assert by_proxy["model_version"]["sha256"] == made["model_version"]["sha256"]
    empty = call("mlflow_model_version", name="old-3", run_id=run_id, artifact_path="nothing/here")
    assert empty["failed"] and "has no MLmodel file" in empty["msg"]


def test_from_a_store_that_clients_have_no_way_to(call: Call) -> None:
    options: dict[str, Any] = {"name": "elsewhere", "source": "s3://bucket/model"}
    assert call("mlflow_model_version", **options)["model_version"]["sha256"] is None
    assert not call("mlflow_model_version", **options)["changed"]
    given = call("mlflow_model_version", name="elsewhere", source="s3://bucket/other", sha256="a" * 64)
    assert given["registered"] and given["model_version"]["sha256"] == "a" * 64


def test_absent(server: Server, call: Call, tiny: Path) -> None:
    before = server.state()
    assert not call("mlflow_model_version", name="leaving", path=str(tiny), state="absent")["changed"]
    call("mlflow_model_version", name="leaving", path=str(tiny))
    for check in (True, False):
        gone = call(
            "mlflow_model_version", check=check, name="leaving", path=str(tiny), state="absent", delete_content=True
        )
        assert gone["changed"] and gone["diff"]["before"]["version"] == "1" and gone["model_version"] is None
    assert not call("mlflow_model_version", name="leaving", version=1, state="absent")["changed"]
    after = server.state()
    assert after == before | {"registered_models": sorted([*before["registered_models"], "leaving"])}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "{tmp}"}, "path: {tmp} has no MLmodel file"),
        ({"path": "{tmp}/none"}, "path: {tmp}/none does not exist"),
        ({"source": "/srv/model"}, "source: /srv/model is a local path; give it as path"),
        ({"source": "models:/none/1"}, "source: there is no version 1 of a registered model none"),
        ({"source": "models:/none@champion"}, "names no model version"),
        ({"run_id": "0" * 32, "artifact_path": "model"}, "RESOURCE_DOES_NOT_EXIST|not found"),
        ({"version": 7}, "version: there is no version 7 of wrong"),
        ({"path": "{tmp}", "version": 7}, "mutually exclusive"),
        ({}, "one of the following is required"),
        ({"artifact_path": "model"}, "run_id"),
        ({"path": "{tmp}", "tags": {"mlops.sha256": "x"}}, "tags: mlops.sha256 is set by the module"),
        ({"path": "{tmp}", "tags": {"k": "x" * 5001}}, "tags: k has 5001 characters"),
        ({"path": "{tmp}", "aliases": ["v1"]}, "aliases: 'v1' can't be an alias"),
        ({"path": "{tmp}", "metrics": {"m": "high"}}, "metrics: m is 'high'"),
        ({"source": "s3://b/m", "datasets": [{"name": "d", "digest": "x"}]}, "datasets: needs path"),
        ({"path": "{tmp}", "sha256": "abc"}, "sha256: 'abc' is no SHA-256"),
        ({"path": "{tmp}", "tags": {"mlops.drift.sha256": "x"}}, "tags: mlops.drift.sha256 is set by the module"),
    ],
)
def test_bad_input(call: Call, server: Server, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    given = {
        key: value.replace("{tmp}", str(tmp_path)) if isinstance(value, str) else value
        for key, value in options.items()
    }
    result = call("mlflow_model_version", name="wrong", **given)
    assert result["failed"]
    assert any(part in result["msg"] for part in message.replace("{tmp}", str(tmp_path)).split("|")), result["msg"]
    assert "wrong" not in server.state()["registered_models"]


def test_memory_stays_small_with_large_files(server: Server, tiny: Path, tmp_path: Path) -> None:
    with (tiny / "large.bin").open("wb") as handle:
        for number in range(300):
            handle.write(bytes([number % 256]) * 1024 * 1024)
    args = {"name": "large", "path": str(tiny), "tracking_uri": server.uri, "username": ADMIN, "password": PASSWORD}
    args |= {"_ansible_remote_tmp": str(tmp_path)}
    code = f"""
        import resource, sys
        sys.path.insert(0, {str(ROOT / ".collections")!r})
        from ansible.module_utils.testing import patch_module_args
        from ansible_collections.mlops.onprem.plugins.modules import mlflow_model_version
        try:
            with patch_module_args({args!r}):
                mlflow_model_version.main()
        finally:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert json.loads(done.stdout)["registered"], done.stdout
    assert int(done.stderr.split()[-1]) < 150 * 1024  # KiB


def test_through_the_gateways_name(server: Server, call: Call, proxy: Proxy, tiny: Path) -> None:
    named = call(
        "mlflow_model_version", name="named", path=str(tiny), tracking_uri=f"http://mlflow.localhost:{server.port}"
    )
    assert named["registered"]
    sent = call("mlflow_registered_model_info", name="named", host_header="named.example")
    assert len(sent["registered_models"]) == 1
    refused = call("mlflow_registered_model_info", name="named", host_header="other.example")
    assert refused["failed"] and "--allowed-hosts must name this host" in refused["msg"]
