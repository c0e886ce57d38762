# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Logins and signatures against the examples of the documents that define them."""

from __future__ import annotations

import calendar

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._services.connection import ServiceError
from ansible_collections.mlops.onprem.plugins.module_utils._services.s3 import Endpoint, Keys, sign
from ansible_collections.mlops.onprem.plugins.module_utils._services.scram import Scram, ScramError

# RFC 7677, section 3
NONCE = "rOprNGfwEbeRWgbNEkqO"
CHALLENGE = f"r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
PROOF = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
OUTCOME = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.fixture
def scram() -> Scram:
    return Scram("pencil", NONCE, user="user")


def test_the_rfcs_exchange(scram: Scram) -> None:
    assert scram.first() == f"n,,n=user,r={NONCE}"
    assert scram.final(CHALLENGE) == f"c=biws,{CHALLENGE.split(',')[0]},p={PROOF}"
    scram.verify(OUTCOME)


def test_a_server_that_does_not_know_the_password(scram: Scram) -> None:
    scram.final(CHALLENGE)
    for outcome in ("v=AAAA", "", "e=invalid-proof"):
        with pytest.raises(ScramError):
            scram.verify(outcome)


@pytest.mark.parametrize("challenge", ["", "r=x,s=W22Z,i=4096", f"r={NONCE}x,s=W22Z,i=0", f"r={NONCE}x,s=W22Z,i=many"])
def test_challenges_that_are_none(scram: Scram, challenge: str) -> None:
    with pytest.raises(ScramError):
        scram.final(challenge)


def test_every_exchange_has_its_own_nonce() -> None:
    assert Scram("x").first() != Scram("x").first()


def test_amazons_example_of_a_signature() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, Get Bucket (List Objects)"""
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    moment = calendar.timegm((2013, 5, 24, 0, 0, 0))
    headers = sign("GET", "examplebucket.s3.amazonaws.com", "/", "max-keys=2&prefix=J", b"", keys, "us-east-1", moment)
    assert headers["authorization"].endswith("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
    assert "20130524/us-east-1/s3/aws4_request" in headers["authorization"]
    assert keys.secret not in str(headers)


@pytest.mark.parametrize(
    ("path_style", "key", "target"),
    [
        (True, "", ("s3.example.org", "/b")),
        (True, "a b/ü", ("s3.example.org", "/b/a%20b/%C3%BC")),
        (False, "", ("b.s3.example.org", "/")),
        (False, "x", ("b.s3.example.org", "/x")),
    ],
)
def test_where_an_object_is(path_style: bool, key: str, target: tuple[str, str]) -> None:
    endpoint = Endpoint("https://s3.example.org", region="r", ca="", path_style=path_style, timeout=1)
    assert endpoint.target("b", key) == target


@pytest.mark.parametrize(
    "url", ["s3.example.org", "ftp://s3.example.org", "https://s3.example.org/path", "https://:443", "http://h:port"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ServiceError) as failed:
        Endpoint(url, region="r", ca="", path_style=True, timeout=1)
    assert failed.value.about == "endpoint"


def test_a_ca_that_is_none() -> None:
    with pytest.raises(ServiceError) as failed:
        Endpoint("https://s3.example.org", region="r", ca="no certificate", path_style=True, timeout=1)
    assert failed.value.about == "ca"
