# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep one vaulted file of secrets per inventory, on the control host."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import ipaddress
import os
import secrets
import string
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.text.converters import to_native
from ansible.parsing.vault import VaultLib, VaultSecret, is_encrypted
from ansible.plugins.action import ActionBase

CHARSETS = {
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": string.hexdigits[:16],
    "urlsafe": string.ascii_letters + string.digits + "-_",
}
KINDS = ("password", "certificate")
# cryptography wants every usage of a key named.
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
DEFAULT_LENGTH = 32
SHORTEST = 8
HEADER = """\
# The platform's secrets. Change a value under `secrets` with `ansible-vault edit`, then run the site again.
# `applied` and `previous` are kept by the collection: what was handed out last, and what it replaced.
"""


class SecretsError(Exception):
    """What is wrong, and what to do about it."""


@dataclass(frozen=True)
class Spec:
    """How a missing secret is made."""

    kind: str = "password"
    length: int = DEFAULT_LENGTH
    charset: str = "alphanumeric"
    names: tuple[str, ...] = ()
    """Of a certificate: the host names and addresses that it is for."""

    @classmethod
    def parse(cls, name: str, data: object) -> Spec:
        if not isinstance(data, Mapping):
            raise SecretsError(f"specification of secret {name}: expected a mapping such as {{length: 32}}")
        unknown = set(data) - {"kind", "length", "charset", "names"}
        if unknown:
            raise SecretsError(f"specification of secret {name}: unknown key {', '.join(sorted(map(str, unknown)))}")
        names = data.get("names", [])
        if not isinstance(names, list) or not all(isinstance(item, str) and item for item in names):
            raise SecretsError(f"specification of secret {name}: names must be a list of host names and addresses")
        spec = cls(**{**{str(key): value for key, value in data.items()}, "names": tuple(names)})
        if names and spec.kind != "certificate":
            raise SecretsError(f"specification of secret {name}: names are for kind: certificate alone")
        if spec.kind not in KINDS:
            raise SecretsError(f"specification of secret {name}: kind must be one of {', '.join(KINDS)}")
        if not isinstance(spec.length, int) or spec.length < SHORTEST:
            raise SecretsError(f"specification of secret {name}: length must be a number, {SHORTEST} or more")
        if spec.charset not in CHARSETS:
            raise SecretsError(f"specification of secret {name}: charset must be one of {', '.join(CHARSETS)}")
        return spec

    def generate(self) -> str:
        if self.kind == "certificate":
            return sealed_certificate(self.names)
        charset = CHARSETS[self.charset]
        return "".join(secrets.choice(charset) for dummy in range(self.length))

    def is_outgrown(self, value: str) -> bool:
        """Whether it was made for fewer names than are wanted now: by an earlier release, or for fewer hosts."""
        return self.kind == "certificate" and not set(self.names) <= names_of(value)


def sealed_certificate(names: Sequence[str] = ()) -> str:
    """A key and its self-signed certificate, PEM: for an interface that only its own holder may use.

    With names it is for servers of these names, the first one is its subject, and clients that trust it know them.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, names[0] if names else "sealed")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)  # hosts' clocks differ
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=2120))
    )
    if names:
        # Strict clients take an authority only where it says that it is one.
        usage = dict.fromkeys(USAGES, False) | {"digital_signature": True, "key_cert_sign": True}
        builder = (
            builder.add_extension(x509.SubjectAlternativeName([_general_name(item) for item in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + certificate.public_bytes(serialization.Encoding.PEM)).decode()


def names_of(certificate: str) -> set[str]:
    """The host names and addresses that a certificate is for."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate[certificate.index("-----BEGIN CERTIFICATE") :].encode())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return set()
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def _general_name(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass
class Book:
    """The content of the vaulted file."""

    secrets: dict[str, str] = field(default_factory=dict)
    applied: dict[str, str] = field(default_factory=dict)
    previous: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, source: Path) -> Book:
        try:
            data = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            # The parser's own message quotes the text, and with it a secret.
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark else ""
            raise SecretsError(f"mlops_secrets_file: {source} is not valid YAML once decrypted{where}") from None
        sections = {"secrets", "applied", "previous"}
        if not isinstance(data, dict) or set(data) - sections:
            raise SecretsError(f"mlops_secrets_file: {source} may hold only the keys {', '.join(sorted(sections))}")
        for section, values in data.items():
            if not isinstance(values or {}, dict):
                raise SecretsError(f"mlops_secrets_file: {section} in {source} must be a mapping of names to texts")
            for name, value in (values or {}).items():
                check_value(f"mlops_secrets_file: {section}.{name} in {source}", value)
        return cls(**{section: dict(values or {}) for section, values in data.items()})

    def dump(self) -> str:
        content = {"secrets": self.secrets, "applied": self.applied, "previous": self.previous}
        return HEADER + str(yaml.safe_dump(content, default_flow_style=False, sort_keys=True, width=4096))

    def copy(self) -> Book:
        return Book(dict(self.secrets), dict(self.applied), dict(self.previous))


@dataclass(frozen=True)
class Outcome:
    book: Book
    values: dict[str, str]
    generated: list[str]
    rotated: list[str]


def check_value(where: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise SecretsError(f"{where} must be a text that is not empty; quote numbers")
    return value


def settle(
    book: Book, specs: Mapping[str, Spec], given: Mapping[str, str], rotate: list[str], forget_previous: bool
) -> Outcome:
    """Decide every secret's value; a pure function of the file, what is wanted, and chance."""
    for name in rotate:
        if name in given:
            raise SecretsError(f"mlops_secrets_rotate: the value of {name} comes from mlops_secrets: change it there")
        if name not in specs:
            raise SecretsError(f"mlops_secrets_rotate: {name} is no secret of this platform")
    after = book.copy()
    missing = sorted(name for name in specs if name not in after.secrets and name not in given)
    outgrown = [name for name, spec in specs.items() if name in after.secrets and spec.is_outgrown(after.secrets[name])]
    for name in [*missing, *rotate, *outgrown]:
        after.secrets[name] = specs[name].generate()
    values = {**after.secrets, **given}
    rotated = sorted(name for name, value in values.items() if after.applied.get(name, value) != value)
    if forget_previous:
        after.previous = {}
    after.previous.update({name: after.applied[name] for name in rotated})
    after.applied = dict(values)
    return Outcome(after, values, missing, rotated)


def check_mode_of(path: Path, variable: str) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SecretsError(
            f"{variable}: {path} has mode {mode:04o}, others than its owner can read it: chmod 0600 {path}"
        )


def write_private(path: Path, content: bytes) -> None:
    """Replace the file in one step, so that a killed run leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the folder, so that two runs at once never make two sets of secrets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_key(path: Path) -> VaultSecret:
    check_mode_of(path, "mlops_vault_key_file")
    key = path.read_bytes().strip()
    if not key:
        raise SecretsError(f"mlops_vault_key_file: {path} is empty")
    return VaultSecret(key)


def specs_of_roles(folder: Path, roles: list[str]) -> dict[str, Spec]:
    """What the roles ask for: `__<role>_secrets` in their vars/main.yml, plain data without templates."""
    specs: dict[str, Spec] = {}
    for path in sorted(folder.glob("*/vars/main.yml")):
        role = path.parent.parent.name
        if roles and role not in roles:
            continue
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for name, spec in (data.get(f"__{role}_secrets") or {}).items():
            specs[name] = Spec.parse(name, spec)
    return specs


class ActionModule(ActionBase):  # type: ignore[misc]
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            argument_spec={
                "file": {"type": "path", "required": True},
                "key_file": {"type": "path", "required": True},
                "roles_path": {"type": "path"},
                "roles": {"type": "list", "elements": "str", "default": []},
                "specs": {"type": "dict", "default": {}},
                "values": {"type": "dict", "default": {}, "no_log": True},
                "rotate": {"type": "list", "elements": "str", "default": []},
                "forget_previous": {"type": "bool", "default": False},
            }
        )
        result["_ansible_no_log"] = True
        try:
            result.update(self._ensure(arguments))
        except SecretsError as error:
            # The message names variables and files only; a hidden message would help nobody.
            result["_ansible_no_log"] = False
            raise AnsibleActionFail(str(error), result=result) from None
        except OSError as error:
            raise AnsibleActionFail(f"mlops_secrets_file: {error}") from None
        return result

    def _ensure(self, arguments: dict[str, Any]) -> dict[str, Any]:
        path, key_path = Path(arguments["file"]), Path(arguments["key_file"])
        check = self._task.check_mode
        specs = {name: Spec.parse(name, spec) for name, spec in arguments["specs"].items()}
        if arguments["roles_path"]:
            specs = {**specs_of_roles(Path(arguments["roles_path"]), arguments["roles"]), **specs}
        given = {
            str(name): str(check_value(f"mlops_secrets: {name}", value)) for name, value in arguments["values"].items()
        }

        with contextlib.nullcontext() if check else locked(path):
            vault = self._vault(key_path, path, check)
            text = self._read(path, vault)
            before = Book.parse(text, path)
            outcome = settle(before, specs, given, arguments["rotate"], arguments["forget_previous"])
            changed = outcome.book != before
            if changed and not check:
                write_private(path, vault.encrypt(outcome.book.dump()))
        return {
            "changed": changed,
            "values": outcome.values,
            "previous": outcome.book.previous,
            "generated": outcome.generated,
            "rotated": outcome.rotated,
            "diff": {
                "before_header": str(path),
                "after_header": str(path),
                "before": "".join(f"{name}\n" for name in sorted(before.secrets)),
                "after": "".join(f"{name}\n" for name in sorted(outcome.book.secrets)),
            },
        }

    def _vault(self, key_path: Path, path: Path, check: bool) -> VaultLib:
        """The site's own vault ids where given, else the key file, made here when nothing is encrypted yet."""
        # DataLoader has no public way to the vault ids of the command line.
        own = list(getattr(self._loader._vault, "secrets", None) or [])
        if key_path.exists():
            return VaultLib([*own, ("default", read_key(key_path))])
        if own:
            return VaultLib(own)
        if path.exists():
            raise SecretsError(
                f"mlops_vault_key_file: {key_path} is missing, and without it {path} cannot be read: put the key back, "
                f"name another file, or pass --vault-id"
            )
        key = secrets.token_urlsafe(48)
        if not check:
            write_private(key_path, f"{key}\n".encode())
        return VaultLib([("default", VaultSecret(key.encode()))])

    @staticmethod
    def _read(path: Path, vault: VaultLib) -> str:
        if not path.exists():
            return ""
        check_mode_of(path, "mlops_secrets_file")
        content = path.read_bytes()
        if not is_encrypted(content):
            raise SecretsError(
                f"mlops_secrets_file: {path} is not encrypted: encrypt it with ansible-vault, or remove it"
            )
        try:
            return str(to_native(vault.decrypt(content)))
        except AnsibleError:
            raise SecretsError(
                f"mlops_secrets_file: {path} cannot be decrypted with the key in mlops_vault_key_file nor with a given "
                f"vault id: it was encrypted with another key, or is damaged"
            ) from None
