# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Images are built once per key, pushed, held to, and know nothing of the site that built them."""

from __future__ import annotations

import io
import json
import ssl
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from image_site import COLLECTION, Site, docker, inspect, our_table

MARKS = {
    "mlops_pip_index_url": "https://mark-index-leak7391.example.org/simple",
    "mlops_http_proxy": "http://marked:leak7391@proxy.example.org:3128",
    "mlops_go_proxy": "https://mark-go-leak7391.example.org",
    "mlops_maven_mirror": "https://mark-maven-leak7391.example.org",
    "mlops_apt_sources": "deb http://mark-apt-leak7391.example.org/debian bookworm main\n",
}
RECIPE = """
ARG BASE
FROM ${BASE}
USER 0:0
COPY hello /usr/local/bin/hello
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=apt_sources --mount=type=secret,id=pip_conf \\
    --mount=type=secret,id=env --mount=type=cache,target=/root/.cache \\
    with-mirrors hello > /seen
USER 10001:10001
CMD ["hello"]
"""
HELLO = """#!/bin/sh
# Says how much it got of each, so that the test sees it and the layer doesn't hold it.
for value in "$PIP_INDEX_URL" "$UV_DEFAULT_INDEX" "$HTTP_PROXY" "$http_proxy" "$GOPROXY" "$MAVEN_MIRROR"; do
  echo ${#value}
done
wc -c < "$SSL_CERT_FILE"; grep -c mark-apt /run/secrets/apt_sources; grep -c mark-index "$PIP_CONFIG_FILE"
"""


def recipe(folder: Path, dockerfile: str = RECIPE, **files: str) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    extra = {name: {"content": content} for name, content in files.items()}
    return {"version": "1", "build": {"context": str(folder), "files": extra, "base": "base"}, "licence": "Apache-2.0"}


def contents(image: str) -> Iterator[tuple[str, bytes]]:
    """Every file of every layer, and the configuration with its history."""
    saved = subprocess.run(["docker", "save", image], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        for entry in archive:
            data = archive.extractfile(entry)
            if data is None:
                continue
            raw = data.read()
            try:
                with tarfile.open(fileobj=io.BytesIO(raw)) as layer:
                    for inner in layer:
                        file = layer.extractfile(inner) if inner.isfile() else None
                        yield inner.name.removeprefix("./"), file.read() if file else inner.name.encode()
            except tarfile.ReadError:
                yield entry.name, raw


def test_registry_is_confined(site: Site) -> None:
    live = inspect(f"{site.name}-registry")
    assert live["Config"]["User"] == "10001:10001"
    host = live["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and host["Memory"] and host["PidsLimit"]
    assert live["State"]["Health"]["Status"] == "healthy" and host["RestartPolicy"]["Name"] == "always"


def test_registry_second_run_changes_nothing_and_drift_is_put_right(site: Site) -> None:
    name = f"{site.name}-registry"
    before = inspect(name)["Id"]
    assert site.run().changed == 0
    assert inspect(name)["Id"] == before
    docker("update", "--restart", "no", name)
    assert site.run("--check").changed == 1
    assert site.run().changed == 1
    assert inspect(name)["HostConfig"]["RestartPolicy"]["Name"] == "always"
    docker("stop", name)
    assert site.run().changed == 1
    assert site.run().changed == 0


def test_build_push_and_second_run(site: Site, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(
        "# mark-ca-leak7391\n"
        + "".join(ssl.DER_cert_to_PEM_cert(c) for c in ssl.create_default_context().get_ca_certs(True)[:1])
    )
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "hello").write_text(HELLO)
    wanted: dict[str, Any] = {
        "images_wanted": ["hello"],
        "images_extra": {"hello": recipe(tmp_path / "hello")},
        "mlops_ca_bundle": str(ca),
        **MARKS,
    }
    checked = site.run("--check", **wanted)
    assert checked.changed == 1 and "hello: would be built" in checked.output
    first = site.run("-vvv", **wanted)
    assert first.images["hello"].startswith(f"{site.address}/hello@sha256:")
    assert (
        "hello: building" in first.output
        and "hello: built in" in first.output
        and str(site.folder / "log") in first.output
    )
    assert "leak7391" not in first.output
    seen = docker(
        "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", first.images["hello"], "cat", "/seen"
    )
    lengths = [
        len(MARKS[f"mlops_{name}"])
        for name in ("pip_index_url", "pip_index_url", "http_proxy", "http_proxy", "go_proxy", "maven_mirror")
    ]
    assert [int(line) for line in seen.split()] == [*lengths, ca.stat().st_size, 1, 1]
    leaked = [name for name, data in contents(first.images["hello"]) if b"leak7391" in data]
    assert leaked == []
    for log in (site.folder / "log").glob("hello-*.log"):
        assert "leak7391" not in log.read_text()
    second = site.run(**wanted)
    assert second.changed == 0 and second.images["hello"] == first.images["hello"]
    # The engine may forget it: what the registry has is not built again.
    docker("image", "rm", "--force", *docker("image", "ls", "--quiet", f"{site.address}/hello").split())
    assert site.run(**wanted).images["hello"] == first.images["hello"]


def test_a_changed_recipe_is_another_image(site: Site, tmp_path: Path) -> None:
    def build(text: str) -> str:
        extra = {"other": recipe(tmp_path / "other", "ARG BASE\nFROM ${BASE}\nCOPY note /note\n", note=text)}
        return site.run(images_wanted=["other"], images_extra=extra).images["other"]

    one, two = build("one"), build("two")
    assert one != two and build("one") == one


def test_killed_between_build_and_push_it_is_only_pushed(site: Site, tmp_path: Path) -> None:
    row = recipe(tmp_path / "late", "ARG BASE\nFROM ${BASE}\nCOPY note /note\n", note="late")
    first = site.run(images_wanted=["late"], images_extra={"late": row})
    docker("rm", "--force", f"{site.name}-registry")
    docker("volume", "rm", f"{site.name}-registry")
    again = site.run(images_wanted=["late"], images_extra={"late": row})
    assert "late: pushed in" in again.output
    assert again.images["late"] == first.images["late"]


def test_a_base_image_of_the_sites_own(site: Site) -> None:
    key = our_table().key("base")
    own = site.run(images_wanted=["base"]).images["base"]
    made = site.run(images_wanted=["base"], images_base_from=own)
    assert "base: built in" in made.output and made.images["base"] != own
    layers = inspect(made.images["base"], "image")["RootFS"]["Layers"]
    assert layers[: len(inspect(own, "image")["RootFS"]["Layers"])] == inspect(own, "image")["RootFS"]["Layers"]
    assert inspect(f"{site.address}/base:{key}", "image")["Config"]["User"] == "10001:10001"


def test_a_failing_build_says_why_and_stops(site: Site, tmp_path: Path) -> None:
    bad = recipe(tmp_path / "bad", "ARG BASE\nFROM ${BASE}\nRUN echo the-reason-why; exit 3\n")
    after = recipe(tmp_path / "after", "ARG BASE\nFROM ${BASE}\nRUN true\n")
    run = site.run(fails=True, images_wanted=["bad", "after"], images_extra={"bad": bad, "after": after})
    assert "the-reason-why" in run.output and "image bad: docker build failed" in run.output
    assert "after: building" not in run.output


def test_a_row_that_cannot_be_is_named(site: Site, tmp_path: Path) -> None:
    run = site.run(
        fails=True, images_wanted=["odd"], images_extra={"odd": {"build": {"context": "x", "colour": "red"}}}
    )
    assert "build.colour" in run.output


def test_evaluation_recipes_are_refused_or_said_aloud(site: Site, tmp_path: Path) -> None:
    row = {**recipe(tmp_path / "trial", "ARG BASE\nFROM ${BASE}\nCOPY note /note\n", note="trial"), "evaluation": True}
    refused = site.run(fails=True, images_wanted=["trial"], images_extra={"trial": row})
    assert "mlops_images_allow_evaluation" in refused.output
    allowed = site.run(images_wanted=["trial"], images_extra={"trial": row}, mlops_images_allow_evaluation=True)
    assert "never for production: trial" in allowed.output


def test_pull_is_held_to_the_first_digest(site: Site, tmp_path: Path) -> None:
    upstream = f"{site.address}/upstream/proxy:v1"

    def publish(text: str) -> None:
        (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY note /note\n")
        (tmp_path / "note").write_text(text)
        docker("build", "--quiet", "--tag", upstream, tmp_path)
        docker("push", "--quiet", upstream)

    def note(image: str) -> str:
        return next(data for name, data in contents(image) if name == "note").decode()

    publish("first")
    (tmp_path / "adapted").mkdir()
    (tmp_path / "adapted" / "Dockerfile").write_text("never used")
    (tmp_path / "adapted" / "Dockerfile.pull").write_text("ARG UPSTREAM\nFROM ${UPSTREAM}\nUSER 10001:10001\n")
    rows = {
        "proxy": {"version": "1", "pull": upstream},
        "fitted": {"version": "1", "pull": upstream, "build": {"context": str(tmp_path / "adapted")}},
    }
    wanted: dict[str, Any] = {"images_wanted": ["proxy", "fitted"], "images_extra": rows, "mlops_images_source": "pull"}
    # The registry's own image has an upstream too; here it stays what it is.
    wanted["images_overrides"] = {"registry": {"pull": None}}
    first = site.run(**wanted)
    assert note(first.images["proxy"]) == note(first.images["fitted"]) == "first"
    assert inspect(first.images["fitted"], "image")["Config"]["User"] == "10001:10001"
    lock = yaml.safe_load((site.folder / "images.lock.yml").read_text())
    assert lock["upstream"].keys() == {upstream}
    assert site.run(**wanted).changed == 0
    publish("second")
    for name in rows:
        docker("image", "rm", "--force", *docker("image", "ls", "--quiet", f"{site.address}/{name}").split())
    held = site.run(**wanted, images_rebuild=True)
    assert note(held.images["proxy"]) == note(held.images["fitted"]) == "first"
    assert yaml.safe_load((site.folder / "images.lock.yml").read_text()) == lock


def test_auto_is_decided_once(site: Site, tmp_path: Path) -> None:
    """Upstream's place is taken by this site's registry, which answers, and by a port where nobody does."""
    row = {
        **recipe(tmp_path / "either", "ARG BASE\nFROM ${BASE}\nCOPY note /note\n", note="x"),
        "pull": "r.example.org/either:v1",
    }

    def decide(mirror: str, lock: Path, *options: str) -> str:
        run = site.run(
            *options, "--check", images_wanted=["either"], images_extra={"either": row}, mlops_images_source="auto",
            images_pull_mirror=mirror, images_lock_file=str(lock),
        )  # fmt: skip
        return "pull" if "either: would be pulled" in run.output else "build"

    lock = tmp_path / "lock.yml"
    assert decide(site.address, lock) == "pull"
    assert decide("127.0.0.1:9", lock) == "build"
    assert not lock.exists()
    lock.write_text("source: pull\n")
    assert decide("127.0.0.1:9", lock) == "pull"


def test_check_on_a_blank_host_touches_nothing(site: Site, tmp_path: Path) -> None:
    blank = {
        "registry_docker_socket": "/nonexistent.sock",
        "images_docker_host": "unix:///nonexistent.sock",
        "registry_address": "127.0.0.1:5999",
        "registry_config_dir": str(tmp_path / "config"),
        "images_log_dir": str(tmp_path / "log"),
        "images_lock_file": str(tmp_path / "lock.yml"),
        "mlops_images_source": "auto",
        "images_pull_mirror": "127.0.0.1:9",
    }
    run = site.run("--check", "--diff", images_wanted=["postgresql", "traefik"], **blank)
    for name in ("base", "registry", "postgresql", "python_build", "traefik"):
        assert f"{name}: would be built" in run.output
    assert list(tmp_path.iterdir()) == []


def test_a_pass_over_all_images_is_one_quick_call(site: Site) -> None:
    """What asking for thirty images costs beyond what Ansible takes for any module at all; the best of three runs."""
    names = ["base", "python_build", "registry"]
    site.run(images_wanted=names)
    table = our_table()
    references = [f"{site.address}/{name}:{table.key(name)}" for name in names]
    references += [f"{site.address}/{name}:{number}" for name in names for number in range(9)]
    arguments = {"registry": {"address": site.address}, "references": references}

    def best(*command: str) -> float:
        seconds = []
        for _ in range(3):
            started = time.monotonic()
            subprocess.run(["ansible", "localhost", "-m", *command], check=True, capture_output=True, cwd=COLLECTION)
            seconds.append(time.monotonic() - started)
        return min(seconds)

    assert best("mlops.onprem.image_info", "-a", json.dumps(arguments)) - best("ansible.builtin.ping") < 1.5


def test_our_images_know_nothing_of_this_host(site: Site) -> None:
    """The host's CA bundle beyond Debian's own, its apt sources and name, in no layer of the images made with them."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt").read_text()
    image = f"{site.address}/python_build:{our_table().key('python_build')}"
    public = docker("run", "--rm", "--entrypoint", "cat", image, "/etc/ssl/certs/ca-certificates.crt")
    vendored = "/opt/tools/lib/python3.11/site-packages/pip/_vendor/certifi/cacert.pem"
    public += docker("run", "--rm", "--entrypoint", "cat", image, vendored)
    certificates = [part.split("-----END")[0].strip() for part in bundle.split("-----BEGIN CERTIFICATE-----")[1:]]
    private = [text.encode() for text in certificates if text not in public]
    for name, data in contents(image):
        assert not any(text in data for text in private), name
        assert not (name.startswith("etc/apt/sources.list") and data.strip() and b"etc/apt" not in data), name
        assert name not in {"etc/hostname", "etc/resolv.conf"} or not data.strip(), name
