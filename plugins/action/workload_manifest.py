# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a set's manifests on the control host; what only the cluster knows is asked for on the manager."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.text.converters import to_text
from ansible.parsing.vault import VaultLib, is_encrypted
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.onprem.plugins.action.generated_secrets import SecretsError, read_key
from ansible_collections.mlops.onprem.plugins.module_utils._workload import WorkloadError, parse
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes import manifest as kubernetes_manifest
from ansible_collections.mlops.onprem.plugins.module_utils._workload.manifest import (
    Content,
    Declared,
    SecretObject,
    leaked,
    merged,
    refuse,
)
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm import manifest as swarm_manifest
from ansible_collections.mlops.onprem.plugins.modules.workload_manifest import ARGUMENTS
from ansible_collections.mlops.onprem.plugins.plugin_utils.manifests import Directory, to_yaml

TARGETS = {"swarm": swarm_manifest, "kubernetes": kubernetes_manifest}
ASKED = ("target", "namespace", "docker_host", "kubernetes", "domain", "images")
SECRETS = "SECRETS.yaml"
VAULT = "SECRETS.vault.yaml"
SECRETS_COMMENT = """\
# Objects with secrets, which must be there before what uses them starts. keys: key, and the secret with its value.
# bin/playbook secrets -i INVENTORY -e show=NAME shows one. A name holds a hash of the value: a new value, a new name.
"""


class ActionModule(ActionBase):  # type: ignore[misc]
    _requires_connection = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            result.update(self._render(arguments, task_vars or {}))
        except WorkloadError as error:
            lines = [error.message, *(f"- {problem}" for problem in error.problems)]
            raise AnsibleActionFail("\n".join(lines), result={"problems": error.problems}) from None
        except OSError as error:
            raise AnsibleActionFail(f"dest: {error}") from error
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _render(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        set_name = arguments["set"]
        if not re.match(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", set_name):
            raise WorkloadError(f"set: {set_name!r} is not a name of lower-case letters, digits and dashes")
        target = TARGETS[arguments["target"]]
        directory = Directory(Path(arguments["dest"]) / arguments["target"])
        declared = _declared(arguments)
        notes: list[str] = []
        live = self._ask(arguments, task_vars, notes)
        if live is None:
            facts, made_up = target.assumed(declared, arguments["cluster"])
        else:
            facts, made_up = target.told(declared, arguments["cluster"], live)
            declared = _declared({**arguments, "images": {**arguments["images"], **live.get("images", {})}})
        notes += made_up
        sets = {name: entry for name, entry in directory.sets.items() if name != set_name}
        made = target.manifests(declared, facts, [entry["neighbour"] for entry in sets.values()])
        notes += made.notes
        notes += _without_digest(declared)
        files = {f"{set_name}/{path}": _text(content) for path, content in made.files.items()}
        if arguments["vault_key_file"] and made.values:
            vaulted = f"{set_name}/{VAULT}"
            files[vaulted] = _encrypted(Path(arguments["vault_key_file"]), made.values, directory.read(vaulted))
        if files:
            sets[set_name] = {
                "neighbour": made.neighbour,
                "secrets": [item.to_dict() for item in made.secrets],
            }
        files.update(self._kept(directory, sets, set_name))
        files.update(self._shared(target, declared, facts, sets, files))
        refuse(leaked(files, declared.secret_values))
        changes = directory.changes(files, sets)
        if not self._task.check_mode:
            directory.make(changes)
        return {
            "changed": bool(changes),
            "path": str(directory.root),
            "files": sorted(files),
            "written": sorted(changes.write),
            "removed": changes.remove,
            "live": live is not None,
            "notes": list(dict.fromkeys(notes)),
            "diff": changes.diff,
        }

    def _ask(self, arguments: dict[str, Any], task_vars: dict[str, Any], notes: list[str]) -> dict[str, Any] | None:
        """What the cluster says; nothing where it isn't to be asked, or doesn't answer and need not."""
        if arguments["live"] == "never":
            notes.append("The cluster was not asked")
            return None
        asked = {name: arguments[name] for name in ASKED if arguments[name] is not None}
        try:
            answer: dict[str, Any] = self._execute_module(
                module_name="mlops.onprem.workload_manifest",
                module_args={**asked, "dest": arguments["dest"], "set": arguments["set"], "workloads": []},
                task_vars=task_vars,
            )
        except AnsibleConnectionFailure as error:
            answer = {"failed": True, "msg": str(error)}
        if not answer.get("failed"):
            found: dict[str, Any] = answer["facts"]
            return found
        reason = str(answer.get("msg") or answer.get("module_stderr") or "")
        if not reason:
            raise WorkloadError(f"Asking the cluster went wrong: {answer.get('exception') or answer}")
        if arguments["live"] == "always":
            raise WorkloadError(f"The cluster can't be asked: {reason}")
        notes.append(f"The cluster could not be asked ({reason.splitlines()[0]})")
        return None

    @staticmethod
    def _kept(directory: Directory, sets: Mapping[str, Any], set_name: str) -> dict[str, str]:
        """The files of other sets, as they are."""
        others = [name for name in directory.files if name.partition("/")[0] in set(sets) - {set_name} and "/" in name]
        texts = {name: directory.read(name) for name in others}
        return {name: text for name, text in texts.items() if text is not None}

    @staticmethod
    def _shared(
        target: Any, declared: Declared, facts: Any, sets: Mapping[str, Any], files: Mapping[str, str]
    ) -> dict[str, str]:
        """What stands beside the sets: what they have in common, and the list of their secrets."""
        if not sets:
            return {}
        content, secrets = target.shared(declared, facts, [entry["neighbour"] for entry in sets.values()])
        found = {name: _text(documents) for name, documents in content.items()}
        listed = target.listing([*found, *(name for name in files if not name.endswith(VAULT))])
        found.update({name: _text(documents) for name, documents in listed.items()})
        objects = [SecretObject.from_dict(item) for entry in sets.values() for item in entry["secrets"]]
        if objects or secrets:
            listed_secrets = [item.to_dict() for item in merged([*objects, *secrets])]
            found[SECRETS] = to_yaml([listed_secrets], SECRETS_COMMENT)
        return found


def _declared(arguments: Mapping[str, Any]) -> Declared:
    return Declared(
        namespace=arguments["namespace"],
        set_name=arguments["set"],
        workloads=parse(arguments["workloads"]),
        domain=arguments["domain"],
        images=arguments["images"],
        secret_values={name: str(value) for name, value in arguments["secret_values"].items() if value is not None},
        registry_auth=arguments["registry_auth"] or {},
        kubernetes=arguments["kubernetes"] or {},
    )


def _encrypted(key_file: Path, documents: list[dict[str, Any]], before: str | None) -> str:
    """Each encryption gives another text: as long as the content is the same, the old one stays."""
    try:
        vault = VaultLib([("default", read_key(key_file))])
    except SecretsError as error:
        raise WorkloadError(str(error)) from None
    plain = to_yaml(documents)
    if before is not None and is_encrypted(before):
        # With another key it is written anew.
        with contextlib.suppress(AnsibleError):
            if to_text(vault.decrypt(before)) == plain:
                return before
    return to_text(vault.encrypt(plain))


def _text(content: Content) -> str:
    return content if isinstance(content, str) else to_yaml(content)


def _without_digest(declared: Declared) -> list[str]:
    used = {item.image for workload in declared.workloads for item in (workload, *workload.jobs)}
    names = sorted(name for name in used if "sha256:" not in declared.images.get(name, "sha256:"))
    return [f"Named without a digest, as no registry has them yet: {', '.join(names)}"] if names else []
