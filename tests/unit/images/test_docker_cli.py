# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Which docker command line is taken, what it is called with, and what its failures say. The command is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._images.docker_cli import DockerCli, Login, find_buildkit
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError


def fake(folder: Path, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "docker"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


OLD = 'echo "Docker version 20.10.24+dfsg1, build 297e128"'
BARE = '[ "$1" = --version ] && echo "Docker version 28.2.2, build e6534b4" || exit 1'
WITH_BUILDX = 'echo "Docker version 28.2.2, build e6534b4"'
ANCIENT = 'echo "Docker version 18.03.1-ce, build 9ee9f40"'


@pytest.mark.parametrize(
    ("script", "taken"), [(OLD, True), (BARE, False), (WITH_BUILDX, True), (ANCIENT, False), ("exit 3", False)]
)
def test_only_a_command_that_can_buildkit_is_taken(tmp_path: Path, script: str, taken: bool) -> None:
    path = fake(tmp_path / "bin", script)
    assert find_buildkit(str(tmp_path / "bin")) == (str(path) if taken else None)


def test_the_next_on_the_path_is_tried(tmp_path: Path) -> None:
    fake(tmp_path / "a", BARE)
    path = fake(tmp_path / "b", OLD)
    assert find_buildkit(f"{tmp_path / 'a'}:{tmp_path / 'none'}:{tmp_path / 'b'}") == str(path)


def build(tmp_path: Path, script: str, **secrets: str) -> str:
    log = tmp_path / "build.log"
    context = tmp_path / "context.tar"
    context.write_bytes(b"CONTEXT")
    cli = DockerCli(
        str(fake(tmp_path / "bin", script)), log, "unix:///x.sock", Login("r.example.org/path", "u", "geheim")
    )
    with context.open("rb") as stream:
        cli.build(
            stream, "r/a:k", arguments={"BASE": "b"}, labels={"l": "v"}, secrets=secrets, network="host", fresh=True
        )
    return log.read_text()


def test_secrets_are_files_and_never_arguments(tmp_path: Path) -> None:
    said = build(
        tmp_path,
        'echo "$@"; cat; for a in "$@"; do case $a in id=*) f=${a#*src=}; stat -c %a $f; cat $f;; esac; done; '
        "cat $DOCKER_CONFIG/config.json",
        env="HTTP_PROXY=secret",
    )
    arguments = said.splitlines()[1]
    assert "secret=" not in arguments and "HTTP_PROXY" not in arguments and "geheim" not in arguments
    assert arguments.startswith("--host unix:///x.sock build") and arguments.endswith("--no-cache -")
    assert "CONTEXT" in said and "HTTP_PROXY=secret" in said and "600" in said
    assert json.loads(said[said.rindex('{"auths"') :])["auths"].keys() == {"r.example.org"}
    assert not list(tmp_path.glob("mlops-*"))


def test_a_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(ImagesError) as caught:
        build(tmp_path, "seq 100; echo '#5 sha256:abc 1MB / 2MB'; echo 'it broke' >&2; exit 7")
    message = str(caught.value)
    assert "status 7" in message and message.endswith("it broke") and "build.log" in message
    assert "\n99\n" in message and "\n50\n" not in message and "sha256:abc" not in message


def test_a_build_that_hangs_is_ended(tmp_path: Path) -> None:
    cli = DockerCli(str(fake(tmp_path / "bin", "sleep 60")), tmp_path / "log", timeout=0.3)
    with pytest.raises(ImagesError, match="longer than"):
        cli.tag("a", "b")


def test_push_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    count = tmp_path / "count"
    cli = DockerCli(str(fake(tmp_path / "bin", f"echo x >> {count}; [ $(wc -l < {count}) -ge 3 ]")), tmp_path / "log")
    cli.push("r/a:k")
    assert count.read_text() == "x\n" * 3


def test_digest_of_what_was_pulled(tmp_path: Path) -> None:
    answer = json.dumps(["127.0.0.1:5000/proxy@sha256:1", "proxy@sha256:2"])
    cli = DockerCli(str(fake(tmp_path / "bin", f"echo '{answer}'")), tmp_path / "log")
    assert cli.repo_digest("docker.io/library/proxy:v1") == "sha256:2"
    assert cli.repo_digest("127.0.0.1:5000/proxy:v1") == "sha256:1"
    assert cli.repo_digest("quay.io/x/proxy:v1") is None


def test_a_root_file_system_that_fails_leaves_no_image(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    cli = DockerCli(str(fake(tmp_path / "bin", f"echo $1 $2 >> {calls}; cat >/dev/null")), tmp_path / "log")
    with pytest.raises(ImagesError, match="sh failed with status 4"):
        cli.import_rootfs(["sh", "-c", "echo half; echo no mirror >&2; exit 4"], "t:1", {})
    assert calls.read_text().splitlines() == ["import -", "image rm"]


def test_an_import_that_fails_is_what_is_blamed(tmp_path: Path) -> None:
    cli = DockerCli(str(fake(tmp_path / "bin", "echo no engine >&2; exit 1")), tmp_path / "log")
    with pytest.raises(ImagesError, match=r"docker import failed(.|\n)*no engine"):
        cli.import_rootfs(["sh", "-c", "sleep 0.2; yes | head -c 1000000"], "t:1", {})
