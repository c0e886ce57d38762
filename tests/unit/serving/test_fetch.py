# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A model from the registry into the node's cache, and every way in which that may go wrong."""

from __future__ import annotations

import base64
import fcntl
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest
from mlops_runtime.contracts.digest import digest_of_files, file_digest, tree_digest
from mlops_runtime.contracts.mlflow import Mlflow, MlflowError
from mlops_runtime.contracts.settings import Tracking
from mlops_runtime.serving import fetch
from mlops_runtime.serving.cache import Cache, CacheError
from mlops_runtime.serving.registry import download, registered_digest


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


@pytest.fixture
def digest(stand_in: Any, tmp_path: Path) -> str:
    source = tmp_path / "source"
    write(source, stand_in.files)
    return tree_digest(source)


@pytest.fixture
def env(stand_in: Any, tmp_path: Path, digest: str) -> dict[str, str]:
    return {
        "MLOPS_MODEL": "m",
        "MLOPS_MODEL_VERSION": "1",
        "MLOPS_MODEL_SHA256": digest,
        "MLFLOW_TRACKING_URI": stand_in.address,
        "MLOPS_CACHE_DIR": str(tmp_path / "cache"),
        "MLOPS_FETCH_SECONDS": "0",
    }


def test_digest_is_of_paths_and_contents(tmp_path: Path) -> None:
    write(tmp_path, {"b": b"2", "a/c": b"1"})
    lines = {"b": file_digest(tmp_path / "b"), "a/c": file_digest(tmp_path / "a/c")}
    assert tree_digest(tmp_path) == digest_of_files(lines)
    (tmp_path / "b").rename(tmp_path / "d")
    assert tree_digest(tmp_path) != digest_of_files(lines)


def test_fetched_whole_and_then_taken_from_the_cache(stand_in: Any, env: dict[str, str], digest: str) -> None:
    stand_in.files["registered_model_meta"] = b"left by a client"
    path = fetch.fetch_model(env)
    assert path == Path(env["MLOPS_CACHE_DIR"], digest)
    assert (path / "sub/data.bin").read_bytes() == b"data"
    stand_in.close()
    assert fetch.fetch_model({**env, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}) == path


def test_damaged_entry_is_fetched_again(stand_in: Any, env: dict[str, str]) -> None:
    path = fetch.fetch_model(env)
    (path / "model.pkl").write_bytes(b"changed")
    again = fetch.fetch_model(env)
    assert (again / "model.pkl").read_bytes() == stand_in.files["model.pkl"]
    assert not list(Path(env["MLOPS_CACHE_DIR"]).glob(".fetch-*"))


def test_other_files_than_registered_are_refused(stand_in: Any, env: dict[str, str]) -> None:
    stand_in.files["model.pkl"] = b"something else"
    with pytest.raises(fetch.FetchError, match=r"not .* as registered"):
        fetch.fetch_model(env)
    assert [path.name for path in Path(env["MLOPS_CACHE_DIR"]).iterdir()] == [".locks"]


def test_digest_from_the_registry(stand_in: Any, env: dict[str, str], digest: str) -> None:
    del env["MLOPS_MODEL_SHA256"]
    with pytest.raises(fetch.FetchError, match=r"no tag mlops\.sha256"):
        fetch.fetch_model(env)
    stand_in.tags["mlops.sha256"] = digest
    assert fetch.fetch_model(env).name == digest


def test_logged_model_of_mlflow_3(stand_in: Any, env: dict[str, str]) -> None:
    stand_in.uri = "models:/m-1"
    assert (fetch.fetch_model(env) / "MLmodel").is_file()


@pytest.mark.parametrize("fault", [503, 429, "half"])
@pytest.mark.parametrize("position", range(5))
def test_passing_faults_are_tried_again(stand_in: Any, env: dict[str, str], fault: Any, position: int) -> None:
    stand_in.faults = [None] * position + [fault]
    reasons: list[str] = []
    fetch.fetch_model({**env, "MLOPS_FETCH_SECONDS": "30"}, reasons.append)
    assert any("can't be fetched yet" in reason for reason in reasons)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_lasting_faults_end_it_at_once(stand_in: Any, env: dict[str, str], status: int) -> None:
    stand_in.faults = [status]
    with pytest.raises(fetch.FetchError, match=f"model m version 1: GET {stand_in.address}.*: {status}"):
        fetch.fetch_model({**env, "MLOPS_FETCH_SECONDS": "60"})


def test_credentials_from_files_are_sent_and_never_shown(stand_in: Any, env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    env |= {"MLFLOW_TRACKING_USERNAME": "serving", "MLFLOW_TRACKING_PASSWORD_FILE": str(tmp_path / "password")}
    fetch.fetch_model(env)
    assert stand_in.authorization == "Basic " + base64.b64encode(b"serving:s3cret").decode()
    stand_in.faults = [403]
    with pytest.raises(MlflowError) as raised:
        registered_digest(Mlflow(Tracking(stand_in.address.replace("//", "//user:s3cret@"))), "m", "1")
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "."])
def test_paths_that_lead_elsewhere_are_refused(stand_in: Any, tmp_path: Path, name: str) -> None:
    stand_in._list = lambda _directory: [{"path": name, "is_dir": False}]
    with pytest.raises(MlflowError, match="no path below"):
        download(Mlflow(Tracking(stand_in.address)), "m", "1", tmp_path / "target")


@pytest.mark.parametrize("uri", ["s3://bucket/model", "file:///srv/model"])
def test_files_beyond_the_proxy_are_refused(stand_in: Any, env: dict[str, str], uri: str) -> None:
    stand_in.uri = uri
    with pytest.raises(fetch.FetchError, match="artifact proxy"):
        fetch.fetch_model(env)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"MLOPS_MODEL_VERSION": ""}, "MLOPS_MODEL_VERSION is not set"),
        ({"MLFLOW_TRACKING_URI": ""}, "MLFLOW_TRACKING_URI is not set"),
        ({"MLFLOW_TRACKING_URI": "mlflow:5000"}, "MLFLOW_TRACKING_URI: 'mlflow:5000'"),
        ({"MLOPS_MODEL_SHA256": "abc"}, "no SHA-256"),
        ({"MLFLOW_TRACKING_PASSWORD_FILE": "/nowhere"}, "MLFLOW_TRACKING_PASSWORD_FILE"),
        ({"MLOPS_CACHE_DIR": "/proc/nothing"}, "can't be written"),
    ],
)
def test_bad_settings_are_named(env: dict[str, str], change: dict[str, str], words: str) -> None:
    with pytest.raises(fetch.FetchError, match=words):
        fetch.fetch_model({**env, **change})


def _take(root: str, digest: str, delay: float, taken: Any) -> None:
    def fill(target: Path) -> None:
        taken.put("fetched")
        time.sleep(delay)
        (target / "file").write_bytes(b"content")

    Cache(Path(root), 5).get(digest, fill)
    taken.put("has it")


def test_concurrent_replicas_fetch_once(tmp_path: Path) -> None:
    write(tmp_path / "source", {"file": b"content"})
    context = multiprocessing.get_context("fork")
    taken = context.Queue()
    arguments = (str(tmp_path / "cache"), tree_digest(tmp_path / "source"), 0.3, taken)
    replicas = [context.Process(target=_take, args=arguments) for _ in range(4)]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join(20)
    events = [taken.get(timeout=5) for _ in range(5)]
    assert sorted(events) == ["fetched", *["has it"] * 4]


def test_last_used_entries_are_kept_and_used_ones_always(tmp_path: Path) -> None:
    def entry(content: bytes) -> str:
        write(tmp_path / content.hex(), {"file": content})
        return tree_digest(tmp_path / content.hex())

    def get(content: bytes, digest: str) -> Cache:
        cache = Cache(tmp_path / "cache", 2)
        cache.get(digest, lambda target: write(target, {"file": content}))
        return cache

    contents = [bytes([number]) for number in range(4)]
    digests = [entry(content) for content in contents]
    caches = []
    for content, digest in zip(contents, digests, strict=True):
        cache = get(content, digest)
        if content != contents[0]:
            for lock in cache._held:  # this replica has ended; the first one runs on
                os.close(lock)
        caches.append(cache)
        stamp = time.time() - 100 + content[0]
        os.utime(tmp_path / "cache/.locks" / digest, (stamp, stamp))
    kept = {path.name for path in (tmp_path / "cache").iterdir() if not path.name.startswith(".")}
    assert kept == {digests[0], digests[2], digests[3]}


def test_a_replica_that_was_killed_while_fetching_blocks_nobody(tmp_path: Path) -> None:
    write(tmp_path / "source", {"file": b"content"})
    digest = tree_digest(tmp_path / "source")
    context = multiprocessing.get_context("fork")
    taken = context.Queue()
    first = context.Process(target=_take, args=(str(tmp_path / "cache"), digest, 60, taken))
    first.start()
    assert taken.get(timeout=10) == "fetched"
    first.kill()
    first.join()
    path = Cache(tmp_path / "cache", 5).get(digest, lambda target: write(target, {"file": b"content"}))
    assert tree_digest(path) == digest


def test_a_failed_fetch_leaves_nothing(tmp_path: Path) -> None:
    def fail(target: Path) -> None:
        (target / "half").write_bytes(b"x")
        raise CacheError("broke off")

    with pytest.raises(CacheError):
        Cache(tmp_path, 5).get("0" * 64, fail)
    assert {path.name for path in tmp_path.iterdir()} == {".locks"}
    with (tmp_path / ".locks" / ("0" * 64 + ".fetch")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
