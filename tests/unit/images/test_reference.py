# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.reference import Reference, is_loopback

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("traefik:v3", "docker.io/library/traefik:v3"),
        ("chrislusf/seaweedfs:4", "docker.io/chrislusf/seaweedfs:4"),
        ("127.0.0.1:5000/base:abc", "127.0.0.1:5000/base:abc"),
        ("localhost/base:abc", "localhost/base:abc"),
        (f"r.example.org/a/b_c@{DIGEST}", f"r.example.org/a/b_c@{DIGEST}"),
        (f"r.example.org:5/a:t@{DIGEST}", f"r.example.org:5/a:t@{DIGEST}"),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


@pytest.mark.parametrize("text", ["", "a@sha256:12", "r.example.org/UPPER:1", "r.example.org/"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ImagesError):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:5000", True), ("127.1.2.3", True), ("localhost:5000", True), ("[::1]:5000", True),
        ("192.0.2.1:5000", False), ("localhost.example.org:5000", False), ("r.example.org/path", False),
    ],
)  # fmt: skip
def test_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
