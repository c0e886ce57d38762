# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is read of a kubeconfig, and what it costs."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload import WorkloadError
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.client import (
    certificate_end,
    connect,
    token_end,
)

ROOT = Path(__file__).resolve().parents[3]
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
    "users": [{"name": "u", "user": {"token": "secret"}}],
    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
}


def write(path: Path, **more: object) -> str:
    path.write_text(json.dumps({**KUBECONFIG, **more}))
    return str(path)


@pytest.mark.parametrize("days", [1, 9000, 20000])
def test_when_a_certificate_ends(tmp_path: Path, days: int) -> None:
    """Up to 2049 and after it a date is written in different ways."""
    cryptography = pytest.importorskip("cryptography.x509")
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    name = cryptography.Name([cryptography.NameAttribute(cryptography.NameOID.COMMON_NAME, "someone " * 7)])
    key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    end = datetime.fromtimestamp(begin.timestamp() + days * 86400, UTC)
    builder = cryptography.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(2**100).not_valid_before(begin).not_valid_after(end)
    path = tmp_path / "certificate"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    assert certificate_end(path) == end
    path.write_text("nothing of the kind")
    assert certificate_end(path) is None and certificate_end(tmp_path / "none") is None


def test_when_a_token_ends() -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1_700_000_000}).encode()).decode().rstrip("=")
    assert token_end(f"Bearer head.{claims}.signature") == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert token_end("Bearer opaque") is None and token_end("") is None and token_end("a.b.c") is None


def test_what_is_wrong_with_a_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    client = connect(write(path, **{"current-context": "here"}))
    assert client.server == "https://127.0.0.1:9" and client.authorization() == {"Authorization": "Bearer secret"}
    assert client.source == f"kubeconfig {path}, context here"
    assert connect(write(path), "here").source == client.source
    wrong = {
        "has no context 'there' (known: here): set mlops_kube_context": ({"current-context": "here"}, "there"),
        "has no current context: set mlops_kube_context to one of these: here": ({}, None),
        "Expected object with name c in": ({"current-context": "here", "clusters": []}, None),
    }
    for message, (more, context) in wrong.items():
        with pytest.raises(WorkloadError) as error:
            connect(write(path, **more), context)
        assert message in str(error.value) and str(path) in str(error.value)
    for text, message in (("{", "is no YAML"), ("word", "is no kubeconfig")):
        path.write_text(text)
        with pytest.raises(WorkloadError, match=message):
            connect(str(path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(WorkloadError, match=r"There is no kubeconfig .*none: set mlops_kubeconfig"):
        connect()
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(WorkloadError, match=r"or put one at ~/\.kube/config"):
        connect()


def test_only_what_is_needed_is_loaded(tmp_path: Path) -> None:
    """Nothing at all on a Swarm; of the package's thousand modules a handful; and the package is whole for others."""
    path = write(tmp_path / "config", **{"current-context": "here"})
    program = f"""
import sys
sys.path.insert(0, {str(ROOT / "plugins" / "module_utils")!r})
import _workload.backends
assert not [name for name in sys.modules if name.startswith("kubernetes")]
_workload.backends.backend("kubernetes", "t")
assert "urllib3" not in sys.modules or "docker" in sys.modules
from _workload.kubernetes.client import connect
connect({path!r})
assert not [name for name in sys.modules if name.startswith("kubernetes")]
import kubernetes.client
kubernetes.client.ApiClient
connect({path!r})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
