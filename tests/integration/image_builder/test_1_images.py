# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A lock becomes an image, without a person; or the version says why not."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import lock_digest, lock_lines
from builder_stand import LOCK, MODEL, NAME, Stand, logs, pull, with_package
from image_site import docker, inspect


def run(image: str, *command: str) -> str:
    """In a container as closed as the one that serves."""
    closed = ["--rm", "--read-only", "--cap-drop=ALL", "--network=none", "--tmpfs=/tmp"]
    done = subprocess.run(
        ["docker", "run", *closed, image, *command], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_another_lock_becomes_an_image_that_serves(stand: Stand) -> None:
    lock = with_package("click")
    tags = stand.outcome(stand.version(lock))
    assert "mlops.image.problem" not in tags
    image, parent = tags["mlops.image"], stand.images[MODEL]
    assert image.partition("@")[0] == parent.partition("@")[0] and image != parent
    pull(stand.site.address, image)
    # What the Dockerfile's build asks of its own image.
    run(image, "python", "-m", "mlops_runtime.serving.check")
    assert run(image, "python", "-c", "import click; print(click.__file__)").startswith("/opt/venv/")
    assert run(image, "cat", "/microservice/requirements.txt") == lock.strip()
    assert run(image, "sh", "-c", "find /opt/venv ! -user root; find /opt/venv -type f -perm /022") == ""
    made, before = inspect(image, "image"), inspect(parent, "image")
    assert {key: made["Config"][key] for key in ("User", "Env", "Cmd", "Entrypoint", "WorkingDir")} == {
        key: before["Config"][key] for key in ("User", "Env", "Cmd", "Entrypoint", "WorkingDir")
    }
    assert made["Config"]["Labels"]["mlops.requirements"] == lock_digest(lock)
    layers, old = made["RootFS"]["Layers"], before["RootFS"]["Layers"]
    changed = [index for index, layer in enumerate(old) if layers[index] != layer]
    assert len(changed) == 1 and len(layers) == len(old) + 1, "one layer is another, and one is more"


def test_the_same_lock_is_made_once(stand: Stand) -> None:
    lock = with_package("click")
    first = stand.outcome(stand.version(lock))["mlops.image"]
    remarked = "# The same, with other words about it.\n" + lock
    again = stand.version(remarked)
    assert stand.outcome(again, seconds=30)["mlops.image"] == first
    # The same files would make the same image; how long it took says that nothing was installed.
    [took] = re.findall(rf"{again[0]} version {again[1]} runs in \S+, made in (\d+) s", logs())
    assert int(took) < 5


def test_an_image_is_made_of_one_that_was_made(stand: Stand) -> None:
    first = stand.outcome(stand.version(with_package("click")))["mlops.image"]
    second = stand.outcome(stand.version(with_package("idna"), parent=first))["mlops.image"]
    pull(stand.site.address, first, second)
    layers = [inspect(image, "image")["RootFS"]["Layers"] for image in (first, second)]
    assert len(layers[0]) == len(layers[1]), "its layers take the place of those, and don't pile up"
    assert run(second, "python", "-c", "import idna; print(idna.__file__)").startswith("/opt/venv/")
    # What remains is the server's own.
    assert run(second, "python", "-c", "import click; print(click.__file__)").startswith("/opt/server/")


WRONG = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("lock", "more", "said"),
    [
        ("six==1.17.0\n", {}, "has no hashes for six"),
        ("-r /etc/image-builder/settings.json\n", {}, "has the option '-r /etc/image-builder/settings.json'"),
        (f"six @ file:///etc/passwd --hash={WRONG}\n", {}, "names an address for six"),
        (f"/etc/passwd --hash={WRONG}\n", {}, "which is no requirement"),
        (f"numpy==2.1.0 --hash={WRONG}\n", {}, "can't be installed"),
        ("\n".join(line for line in lock_lines(with_package("click")) if line.startswith("click")), {}, "no numpy"),
        (LOCK, {"digest": "0" * 64}, "not that of the tag mlops.requirements"),
        (LOCK, {"parent": f"registry.example.org/model@{WRONG}"}, "isn't in the site's registry"),
        (LOCK, {"parent": f"ADDRESS/{MODEL}@{WRONG}"}, "no longer has"),
        (LOCK, {"parent": f"ADDRESS/{MODEL}:latest"}, "names no image by digest"),
    ],
)
def test_what_cannot_be_made_says_why_on_the_version(stand: Stand, lock: str, more: dict[str, Any], said: str) -> None:
    more = {key: value.replace("ADDRESS", stand.site.address) for key, value in more.items()}
    tags = stand.outcome(stand.version(lock, **more))
    assert said in tags["mlops.image.problem"] and "mlops.image" not in tags


def test_an_image_without_an_environment_of_its_own_is_refused(stand: Stand) -> None:
    tags = stand.outcome(stand.version(with_package("click"), parent=stand.images["base"]))
    assert "no layer of its own for the model's environment" in tags["mlops.image.problem"]


def test_it_can_do_little_and_tells_no_secret(stand: Stand) -> None:
    found = inspect(f"{NAME}-image-builder")
    host = found["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False)
    assert found["Config"]["User"] == "10001:10001"
    assert not any("docker.sock" in mount["Source"] for mount in found["Mounts"])
    said = logs()
    assert "wants an image" in said
    told = json.dumps(found) + said
    settings = json.loads((stand.site.folder / "builder/settings.json").read_text())
    secrets = [settings[part]["password"] for part in ("tracking", "registry")] + [*settings["environment"].values()]
    # Whole values, and what hides in addresses.
    assert not [value for value in secrets if value and value in told]
    left = docker("exec", f"{NAME}-image-builder", "find", "/var/lib/image-builder", "-mindepth", "1")
    assert left == "", "nothing is left of what was built"


def test_a_second_run_changes_nothing_and_a_change_is_undone(stand: Stand) -> None:
    before = inspect(f"{NAME}-image-builder")["Id"]
    assert stand.run().changed == 0 and inspect(f"{NAME}-image-builder")["Id"] == before
    assert stand.run("health").changed == 0
    assert stand.run("builder", "--check", images_builder_memory=1 << 29).changed == 1
    assert stand.run(images_builder_memory=1 << 29).changed == 1
    assert inspect(f"{NAME}-image-builder")["HostConfig"]["Memory"] == 1 << 29
    docker("stop", f"{NAME}-image-builder")
    assert "exited" in stand.run("health", fails=True).output
    assert stand.run(images_builder_memory=1 << 29).changed == 1


def test_it_goes_without_trace(stand: Stand) -> None:
    assert stand.run("builder_absent").changed == 1
    assert stand.run("builder_absent").changed == 0
    assert docker("ps", "--all", "--quiet", "--filter", f"name={NAME}-image-builder") == ""
    assert docker("volume", "ls", "--quiet", "--filter", f"name={NAME}-image-builder") == ""
    assert not (stand.site.folder / "builder").exists()
