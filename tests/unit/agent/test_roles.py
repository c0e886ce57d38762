# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The roles agent and gateway: bad input is said all at once, by the variable's name."""

from __future__ import annotations

import datetime
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[3]
PEM = serialization.Encoding.PEM
PLATFORM = ROOT / "playbooks" / "vars" / "platform.yml"
PLAY = f"""
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [{PLATFORM}]
  tasks:
    - ansible.builtin.include_role: {{name: "mlops.onprem.{{{{ item }}}}", tasks_from: validate}}
      loop: [agent, gateway]
    - ansible.builtin.copy: {{content: "{{{{ mlops_problems | to_json }}}}", dest: "{{{{ out }}}}", mode: "0600"}}
"""


DECLARE = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: mlops.onprem.agent}
    - ansible.builtin.copy: {content: "{{ mlops_workloads | to_json }}", dest: "{{ out }}", mode: "0600"}
"""


def filters(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"filter_{name}", ROOT / "plugins" / "filter" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FilterModule().filters()


def certificate(folder: Path, *names: str, days: int = 1, name: str = "tls") -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(item) for item in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(built.public_bytes(PEM))
    paths[1].write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(paths[0]), str(paths[1])


def validate(folder: Path, **variables: Any) -> list[str]:
    run(folder, PLAY, **variables)
    found: list[str] = json.loads((folder / "out.json").read_text())
    return found


def run(folder: Path, play: str, **variables: Any) -> None:
    if not (ansible := Path(sys.executable).parent / "ansible-playbook").exists():
        pytest.skip("ansible-playbook is not beside this Python")
    inventory = folder / "hosts.yml"
    inventory.write_text("mlops_managers: {hosts: {localhost: {ansible_connection: local}}}\n")
    (folder / "play.yml").write_text(play)
    (folder / "vars.json").write_text(json.dumps({"out": str(folder / "out.json"), **variables}))
    done = subprocess.run(
        [
            *(ansible, "-i", inventory, "-e", f"@{folder / 'vars.json'}"),
            *("-e", f"ansible_python_interpreter={sys.executable}", folder / "play.yml"),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def declared(folder: Path, **variables: Any) -> dict[str, Any]:
    """The agent's workload as its role declares it."""
    secrets = {"agent_token_operator": "o" * 48}
    run(folder, DECLARE, mlops_secret_values=secrets, **variables)
    [found] = json.loads((folder / "out.json").read_text())
    return dict(found)


def test_the_cluster_s_options_are_passed_on_but_for_how_it_is_reached_from_outside(tmp_path: Path) -> None:
    options = {"kubeconfig": "/root/config", "context": "site", "entry": "node_port", "manage_namespaces": True}
    env = declared(tmp_path, mlops_cluster_options=options)["env"]
    assert json.loads(env["MLOPS_AGENT_KUBERNETES"]) == {"entry": "node_port", "manage_namespaces": False}
    assert "MLOPS_AGENT_KUBERNETES" not in declared(tmp_path, mlops_cluster_options={})["env"]


def test_the_gateway_s_address_is_a_name_of_the_domain_s(tmp_path: Path) -> None:
    def aliases(**variables: Any) -> str:
        return str(declared(tmp_path, **variables)["env"]["MLOPS_AGENT_DOMAIN_ALIASES"])

    assert aliases() == "gateway,127.0.0.1"
    assert aliases(mlops_gateway={"address": "127.0.0.1"}) == "gateway,127.0.0.1"
    assert aliases(mlops_gateway={"address": "192.0.2.9"}, mlops_domain="ml.test") == "gateway,192.0.2.9"
    assert aliases(mlops_gateway={"address": ""}, mlops_domain="ml.test") == "gateway"


def test_the_defaults_are_fine(tmp_path: Path) -> None:
    assert validate(tmp_path) == []


def test_everything_wrong_is_said_at_once_by_the_variables_name(tmp_path: Path) -> None:
    problems = validate(
        tmp_path,
        agent_replicas=0,
        agent_clients={"A client": {}, "greedy": {"sets": ["platform"], "roots": ["/"]}},
        agent_domain_aliases=["not a host"],
        agent_resync=0,
        gateway_http_port=70000,
        gateway_https_port=70000,
        gateway_tls=True,
        gateway_certificate_file="missing.pem",
        gateway_replicas=0,
        gateway_trusted_proxies=["everyone"],
    )
    names = [problem.split(":")[0] for problem in problems]
    assert names == [
        "agent_replicas",
        *["agent_clients"] * 3,
        "agent_domain_aliases",
        "agent_resync",
        "gateway_http_port",
        "gateway_https_port",
        "gateway_https_port",
        "gateway_private_key_file",
        "gateway_certificate_file",
        "gateway_replicas",
        "gateway_trusted_proxies",
    ]
    assert any(f"there is no file {tmp_path / 'missing.pem'}" in problem for problem in problems)


def test_a_certificate_that_will_not_do_is_named(tmp_path: Path) -> None:
    pem, _ = certificate(tmp_path, "*.example.org")
    _, other = certificate(tmp_path, "*.example.org", name="other")
    [problem] = validate(
        tmp_path,
        mlops_domain="example.org",
        gateway_certificate_file=pem,
        gateway_private_key_file=other,
    )
    assert problem == f"gateway_certificate_file: {other} is not the key of {pem}"


def test_certificate_problems(tmp_path: Path) -> None:
    problems = filters("certificate")["certificate_problems"]
    pem, key = certificate(tmp_path, "example.org", "*.example.org")
    assert problems(pem, key, "mlflow.example.org") == []
    assert problems(pem, key, "example.org") == []
    assert "not for a.b.example.org" in problems(pem, key, "a.b.example.org")[0]
    narrow, narrow_key = certificate(tmp_path, "*.localhost", name="narrow")
    assert "not for mlflow.localhost" in problems(narrow, narrow_key, "mlflow.localhost")[0]
    old, old_key = certificate(tmp_path, "*.example.org", days=-1, name="old")
    assert "was valid until" in problems(old, old_key, "mlflow.example.org")[0]
    assert "is not a certificate" in problems(key, key)[0]
    assert "is not a private key" in problems(pem, pem)[0]
    assert "can't be read" in problems(str(tmp_path / "missing"), key)[0]


def test_agent_tokens_holds_hashes_and_rights() -> None:
    agent_tokens = filters("agent")["agent_tokens"]
    text = agent_tokens(
        {"a": {"sets": ["models"]}, "b": None}, {"agent_token_a": "token-a", "agent_token_b": "token-b"}
    )
    assert "token-a" not in text
    assert json.loads(text) == {
        "a": {"sets": ["models"], "token_sha256": hashlib.sha256(b"token-a").hexdigest()},
        "b": {"token_sha256": hashlib.sha256(b"token-b").hexdigest()},
    }
    with pytest.raises(Exception, match="agent_token_c"):
        agent_tokens({"c": {}}, {})
