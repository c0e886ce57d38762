# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The site's CA and certificates: made once, renewed in time, judged by an independent verifier."""

from __future__ import annotations

import datetime
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._certificates import Made, Pair, Terms, ensure
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError

NOW = datetime.datetime.now(datetime.UTC)
NAMES = ["ml.example.org", "*.ml.example.org", "192.0.2.7", "2001:db8::7"]


def run(
    folder: Path, *, names: list[str] | None = None, days_later: int = 0, check: bool = False, **terms: Any
) -> Made:
    return ensure(
        Pair(folder / "tls/ca.pem", folder / "tls/ca.key"),
        Pair(folder / "tls/leaf.pem", folder / "tls/leaf.key"),
        NAMES if names is None else names,
        Terms(**{"days": 825, "ca_days": 3650, "renew_before_days": 30, **terms}),
        organisation="m",
        now=NOW + datetime.timedelta(days=days_later),
        check=check,
    )


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def test_made_once(tmp_path: Path) -> None:
    assert len(run(tmp_path).why) == 2
    before = {path: path.read_bytes() for path in (tmp_path / "tls").iterdir()}
    assert run(tmp_path).why == []
    assert {path: path.read_bytes() for path in (tmp_path / "tls").iterdir()} == before
    assert {path.name for path in before} == {"ca.pem", "ca.key", "leaf.pem", "leaf.key"}


def test_openssl_agrees(tmp_path: Path) -> None:
    run(tmp_path)
    ca, leaf = tmp_path / "tls/ca.pem", tmp_path / "tls/leaf.pem"
    for option, name in (
        ("-verify_hostname", "x.ml.example.org"),
        ("-verify_hostname", NAMES[0]),
        ("-verify_ip", NAMES[2]),
    ):
        assert "OK" in openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, option, name, leaf)
    with pytest.raises(subprocess.CalledProcessError):
        openssl("verify", "-CAfile", ca, "-verify_hostname", "other.example.org", leaf)


def test_keys_are_private(tmp_path: Path) -> None:
    run(tmp_path)
    for name in ("ca.key", "leaf.key"):
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    made = run(tmp_path, check=True)
    assert made.why and "BEGIN CERTIFICATE" in made.ca and not list(tmp_path.iterdir())


def test_renewed_before_it_ends(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, days_later=790, check=True).why == []
    key = (tmp_path / "tls/leaf.key").read_bytes()
    assert "ends at" in run(tmp_path, days_later=800).why[0]
    assert (tmp_path / "tls/leaf.key").read_bytes() == key


def test_a_renewed_ca_keeps_its_key_and_what_it_signed(tmp_path: Path) -> None:
    run(tmp_path)
    key = (tmp_path / "tls/ca.key").read_bytes()
    later = run(tmp_path, days_later=3000, days=700)
    assert later.why[0].startswith("CA: it ends at")
    assert (tmp_path / "tls/ca.key").read_bytes() == key


def test_other_names_make_another_certificate(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, names=["ml.example.org"]).why == ["certificate: it is for other names"]
    assert run(tmp_path, names=["ml.example.org"]).why == []


def test_another_ca_makes_another_certificate(tmp_path: Path) -> None:
    run(tmp_path)
    for name in ("ca.pem", "ca.key"):
        (tmp_path / "tls" / name).unlink()
    assert [why.partition(":")[0] for why in run(tmp_path).why] == ["CA", "certificate"]


@pytest.mark.parametrize("name", ["ca.key", "ca.pem", "leaf.pem", "leaf.key"])
def test_killed_half_way_it_converges(tmp_path: Path, name: str) -> None:
    run(tmp_path)
    if name == "ca.key":
        (tmp_path / "tls/ca.pem").unlink()
    (tmp_path / "tls" / name).unlink()
    assert run(tmp_path).why
    assert run(tmp_path).why == []


def test_bad_files_are_named(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "tls/leaf.pem").write_text("no certificate")
    with pytest.raises(InputError, match=r"leaf\.pem isn't a certificate"):
        run(tmp_path)


def test_a_ca_without_its_key_is_not_replaced(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "tls/ca.key").unlink()
    with pytest.raises(InputError, match="ca_key"):
        run(tmp_path)
    assert (tmp_path / "tls/ca.pem").exists()


@pytest.mark.parametrize("names", [[], ["exämple..org"]])
def test_bad_names_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(InputError, match="names"):
        run(tmp_path, names=names)
