# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Between hosts the registry has TLS by the site's CA and wants a user; the engine trusts it by the CA's file alone."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_site import Site, clean, docker, find_buildkit, inspect, lend, make_site, own_address

PORT = 5056
ROW = {"version": "1", "build": {"context": "", "files": {"note": {"content": "x"}}, "base": "base"}}


@pytest.fixture(scope="module")
def tls_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if find_buildkit() is None or not docker("info", "--format", "{{.ServerVersion}}", check=False):
        pytest.skip("no Docker engine with BuildKit answers")
    try:
        address = f"{own_address()}:{PORT}"
    except OSError:
        pytest.skip("this host has no address but loopback")
    name = "mlops-it-tls"
    clean(name, address)
    lend(address, "base", "registry")
    made = make_site(tmp_path_factory.mktemp("tls"), name, address)
    yield made
    made.run(registry_verb="absent", mlops_remove_data=True)
    assert not docker("ps", "--all", "--quiet", "--filter", f"name=^{name}-registry$")
    assert not docker("volume", "ls", "--quiet", "--filter", f"name=^{name}-registry$")
    assert not Path(f"/etc/docker/certs.d/{address}").exists()
    assert not (made.folder / "config").exists()
    clean(name, address)


def test_tls_and_users(tls_site: Site, tmp_path: Path) -> None:
    site = tls_site
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nCOPY note /note\n")
    row = {**ROW, "build": {**ROW["build"], "context": str(tmp_path)}}  # type: ignore[dict-item]
    wanted = {"images_wanted": ["noted"], "images_extra": {"noted": row}}
    checked = site.run("--check", **wanted)
    assert checked.changed and not (site.folder / "tls").exists()
    first = site.run("-vvv", **wanted)
    reference = first.images["noted"]
    assert reference.startswith(f"{site.address}/noted@sha256:")
    assert "correct horse" not in first.output and "BEGIN PRIVATE" not in first.output

    live = inspect(f"{site.name}-registry")
    assert "correct horse" not in json.dumps(live) and live["Config"]["User"] == "10001:10001"
    assert oct((site.folder / "config" / "htpasswd").stat().st_mode & 0o777) == "0o400"

    context = ssl.create_default_context(cafile=str(site.folder / "tls" / "ca.pem"))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"https://{site.address}/v2/_catalog", context=context, timeout=10)
    assert caught.value.code == 401
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"https://{site.address}/v2/", context=ssl.create_default_context(), timeout=10)
    assert docker("pull", reference, check=False) == ""

    second = site.run(**wanted)
    assert second.changed == 0 and second.images["noted"] == reference

    # A build host that has forgotten the base image gets it from the registry, with the user's password.
    for tag in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{site.address}/base").split():
        docker("image", "rm", tag)
    again = {**row, "build": {**row["build"], "files": {"note": {"content": "y"}}}}  # type: ignore[dict-item]
    third = site.run(images_wanted=["noted"], images_extra={"noted": again})
    assert "base: building" not in third.output and third.images["noted"] != reference


def test_health_and_rotation(tls_site: Site) -> None:
    site = tls_site
    site.run(registry_verb="health")
    before = (site.folder / "config" / "htpasswd").read_text()
    play = site.folder / "play.yml"
    play.write_text(play.read_text().replace("correct horse battery staple", "another one"))
    wrong = site.run(registry_verb="health", fails=True)
    assert "registry_password" in wrong.output and "another one" not in wrong.output
    assert site.run().changed == 1
    assert (site.folder / "config" / "htpasswd").read_text() != before
    site.run(registry_verb="health")
    assert site.run().changed == 0


def test_a_renewed_certificate_is_taken_over(tls_site: Site) -> None:
    site = tls_site

    def served() -> str:
        return ssl.get_server_certificate(tuple(site.address.split(":")))  # type: ignore[arg-type]

    before = served()
    for name in ("registry.pem", "registry.key"):
        (site.folder / "tls" / name).unlink()
    assert site.run().changed
    assert served() != before
    assert site.run().changed == 0
