# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The vaulted file: made once, kept, rotated, never left half-written, and refused aloud."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

COLLECTION = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(COLLECTION / ".collections"))

from ansible_collections.mlops.onprem.plugins.action import generated_secrets as subject  # noqa: E402

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - mlops.onprem.generated_secrets: "{{ arguments }}"
      register: secret_result
    - ansible.builtin.copy:
        dest: "{{ result_file }}"
        content: "{{ secret_result | to_json }}"
        mode: "0600"
      check_mode: false
      diff: false
      no_log: true
"""


class Runner:
    """Runs the plugin as users do, through ansible-playbook."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "secrets.vault.yml"
        self.key_file = folder / ".vault-key"
        self.output = ""
        (folder / "play.yml").write_text(PLAYBOOK)

    def __call__(self, *options: str, ok: bool = True, **arguments: Any) -> dict[str, Any]:
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        given = {"file": str(self.file), "key_file": str(self.key_file), **arguments}
        extra = json.dumps(
            {"arguments": given, "result_file": str(result), "ansible_python_interpreter": sys.executable}
        )
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local"]
        process = subprocess.run(
            [*command, "-e", extra, *options, str(self.folder / "play.yml")],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(COLLECTION / "ansible.cfg"),
                "ANSIBLE_LOCAL_TEMP": str(self.folder),
            }
            | {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTION / ".collections"), "ANSIBLE_NOCOLOR": "1"},
        )
        self.output = process.stdout + process.stderr
        assert (process.returncode == 0) is ok, self.output
        return json.loads(result.read_text()) if ok else {}

    def settings(self) -> dict[str, str]:
        return {
            "ANSIBLE_CONFIG": str(COLLECTION / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION / ".collections"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder),
            "ANSIBLE_NOCOLOR": "1",
        }

    def content(self) -> dict[str, dict[str, str]]:
        vault = VaultLib([("default", VaultSecret(self.key_file.read_bytes().strip()))])
        return yaml.safe_load(vault.decrypt(self.file.read_bytes()))

    def edit(self, **values: str) -> None:
        vault = VaultLib([("default", VaultSecret(self.key_file.read_bytes().strip()))])
        content = self.content()
        content["secrets"].update(values)
        self.file.write_bytes(vault.encrypt(yaml.safe_dump(content)))


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


SPECS = {"database_password": {"length": 40}, "key": {"length": 20, "charset": "hex"}}


def test_makes_keeps_and_rotates(run: Runner) -> None:
    first = run("-vvv", "--diff", specs=SPECS)
    assert first["changed"]
    assert first["generated"] == ["database_password", "key"]
    assert len(first["values"]["database_password"]) == 40
    assert set(first["values"]["key"]) <= set("0123456789abcdef")
    for value in first["values"].values():
        assert value not in run.output
        assert value.encode() not in run.file.read_bytes()
    for path in (run.file, run.key_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in run.folder.glob(".*")) == [".vault-key"]

    written = run.file.read_bytes()
    assert not run(specs=SPECS)["changed"]
    assert run.file.read_bytes() == written

    more = run(specs={**SPECS, "later": {}}, rotate=["key"])
    assert more["generated"] == ["later"]
    assert more["rotated"] == ["key"]
    assert more["values"]["database_password"] == first["values"]["database_password"]
    assert more["previous"] == {"key": first["values"]["key"]}

    run.edit(database_password="chosen by hand")
    edited = run(specs=SPECS)
    assert edited["values"]["database_password"] == "chosen by hand"
    assert edited["previous"]["database_password"] == first["values"]["database_password"]
    assert run(forget_previous=True)["previous"] == {}
    assert run.content()["previous"] == {}


def test_own_values_win_and_are_not_shown(run: Runner) -> None:
    run(specs=SPECS)
    given = run("-vvv", specs=SPECS, values={"key": "own-value-of-the-site", "other": "x1-of-the-site"})
    assert given["values"]["key"] == "own-value-of-the-site"
    assert given["values"]["other"] == "x1-of-the-site"
    task = run.output.split("TASK [mlops.onprem.generated_secrets]")[1].split("TASK [")[0]
    assert "of-the-site" not in task
    assert given["previous"]["key"] == run.content()["secrets"]["key"]


def test_check_mode_writes_nothing(run: Runner) -> None:
    outcome = run("--check", specs=SPECS)
    assert outcome["changed"]
    assert set(outcome["values"]) == set(SPECS)
    assert not run.file.exists()
    assert not run.key_file.exists()


def test_vault_id_of_the_site(run: Runner) -> None:
    password = run.folder / "site-password"
    password.write_text("the site's own\n")
    made = run("--vault-id", f"site@{password}", specs=SPECS)
    assert not run.key_file.exists()
    assert run("--vault-id", f"site@{password}", specs=SPECS)["values"] == made["values"]
    run(specs=SPECS, ok=False)
    assert "mlops_vault_key_file" in run.output
    assert "is missing" in run.output


def spoil_key(run: Runner) -> None:
    run.key_file.write_text("another key")


def spoil_file(run: Runner) -> None:
    run.file.write_bytes(run.file.read_bytes()[:-40])


def open_file(run: Runner) -> None:
    run.file.chmod(0o644)


def open_key(run: Runner) -> None:
    run.key_file.chmod(0o640)


def decrypt_file(run: Runner) -> None:
    run.file.write_text("secrets: {}\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_key, "cannot be decrypted"),
        (spoil_file, "cannot be decrypted"),
        (open_file, "mlops_secrets_file"),
        (open_key, "mlops_vault_key_file"),
        (decrypt_file, "is not encrypted"),
    ],
)
def test_refuses_aloud(run: Runner, spoil: Any, message: str) -> None:
    run(specs=SPECS)
    spoil(run)
    before = run.file.read_bytes()
    run(specs=SPECS, ok=False)
    assert message in run.output
    assert run.file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"specs": {"a": {"length": 4}}}, "length must be"),
        ({"specs": {"a": {"charset": "emoji"}}}, "charset must be"),
        ({"specs": {"a": {"size": 9}}}, "unknown key size"),
        ({"specs": {"a": {"kind": "riddle"}}}, "kind must be"),
        ({"values": {"a": ""}}, "mlops_secrets: a"),
        ({"values": {"a": 5}}, "mlops_secrets: a"),
        ({"rotate": ["nobody"]}, "mlops_secrets_rotate"),
    ],
)
def test_bad_input_names_the_variable(run: Runner, arguments: dict[str, Any], message: str) -> None:
    run(ok=False, **arguments)
    assert message in run.output
    assert not run.file.exists()


def test_parser_never_quotes_the_text() -> None:
    with pytest.raises(subject.SecretsError) as caught:
        subject.Book.parse("secrets: {a: 'hidden-value", Path("file"))
    assert "hidden-value" not in str(caught.value)


def test_roles_say_what_they_need(tmp_path: Path) -> None:
    for role, text in {"a": "__a_secrets: {one: {length: 9}}", "b": "__b_secrets: {two: {}}", "c": "x: 1"}.items():
        (tmp_path / role / "vars").mkdir(parents=True)
        (tmp_path / role / "vars" / "main.yml").write_text(text)
    assert subject.specs_of_roles(tmp_path, []) == {"one": subject.Spec(length=9), "two": subject.Spec()}
    assert set(subject.specs_of_roles(tmp_path, ["b"])) == {"two"}


def test_certificate_holds_its_own_key() -> None:
    pem = subject.Spec(kind="certificate").generate().encode()
    certificate, key = x509.load_pem_x509_certificate(pem), load_pem_private_key(pem, None)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(certificate)


def test_every_role_of_the_collection_can_be_read() -> None:
    for path in COLLECTION.glob("roles/*/vars/main.yml"):
        subject.specs_of_roles(COLLECTION / "roles", [path.parent.parent.name])


def test_a_certificate_for_fewer_names_is_made_anew() -> None:
    def specs(*names: str) -> dict[str, subject.Spec]:
        return {"c": subject.Spec.parse("c", {"kind": "certificate", "names": list(names)})}

    book = subject.settle(subject.Book(), specs("broker", "127.0.0.1"), {}, [], False).book
    assert subject.names_of(book.secrets["c"]) == {"broker", "127.0.0.1"}
    assert subject.settle(book, specs("broker"), {}, [], False).rotated == []
    more = subject.settle(book, specs("broker", "localhost"), {}, [], False)
    assert more.rotated == ["c"]
    assert subject.names_of(more.values["c"]) == {"broker", "localhost"}
    assert more.book.previous["c"] == book.secrets["c"]
