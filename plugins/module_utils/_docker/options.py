# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's option file: ours merged into what the operator has there."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._errors import InputError

# What a running engine takes over at SIGHUP (moby, daemon/reload.go); all else takes a restart.
RELOADABLE = frozenset(
    {
        "allow-nondistributable-artifacts",
        "authorization-plugins",
        "debug",
        "default-runtime",
        "features",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)
# What an engine does without being told; saying so changes nothing.
DEFAULTS = {"live-restore": False, "log-driver": "json-file"}
# Lists to which the operator's entries belong as much as ours.
UNITED = frozenset({"allow-nondistributable-artifacts", "insecure-registries", "labels", "registry-mirrors"})
# Flags whose names in the file differ.
FLAGS = {
    "--insecure-registry": "insecure-registries",
    "--label": "labels",
    "--log-opt": "log-opts",
    "--node-generic-resource": "node-generic-resources",
    "--registry-mirror": "registry-mirrors",
    "-D": "debug",
    "-g": "data-root",
    "-l": "log-level",
    "-s": "storage-driver",
}


@dataclass(frozen=True)
class OptionsPlan:
    before: dict[str, Any]
    after: dict[str, Any]
    # Left out, since the engine was given them as flags: it refuses to start with both.
    skipped: tuple[str, ...] = ()

    @property
    def changed(self) -> list[str]:
        keys = {*self.before, *self.after}
        return sorted(key for key in keys if self.before.get(key) != self.after.get(key))

    @property
    def noticed(self) -> list[str]:
        """Those of the changed options that make a difference to the engine."""
        return [key for key in self.changed if self._effective(self.before, key) != self._effective(self.after, key)]

    @property
    def reloaded(self) -> list[str]:
        """What a running engine takes over. Of a key that is gone from the file it keeps the former value."""
        return [key for key in self.noticed if key in RELOADABLE and key in self.after]

    @property
    def awaiting_restart(self) -> list[str]:
        return [key for key in self.noticed if key not in self.reloaded]

    @staticmethod
    def _effective(options: Mapping[str, Any], key: str) -> Any:
        return options.get(key, DEFAULTS.get(key))


def read(path: Path) -> dict[str, Any]:
    """:raises InputError: where the file is there and is no JSON object."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read: {error}") from error
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not JSON, so Docker can't start with it either: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object")
    return value


def write_text(options: Mapping[str, Any]) -> str:
    return json.dumps(options, indent=2) + "\n" if options else ""


def flags(arguments: Sequence[str]) -> set[str]:
    """The option names that an engine was given on its command line."""
    names = set()
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag in FLAGS:
            names.add(FLAGS[flag])
        elif flag.startswith("--"):
            names.add(flag[2:])
    return names


def merged(
    existing: Mapping[str, Any],
    options: Mapping[str, Any],
    log_options: Mapping[str, str],
    flags_given: frozenset[str] | set[str] = frozenset(),
) -> OptionsPlan:
    """The operator's file with our options in it.

    Logs are made to rotate where the engine writes them to files; another log driver of the operator's stays.
    """
    wanted = dict(options)
    driver = wanted.get("log-driver", existing.get("log-driver", "json-file"))
    if log_options and driver == "json-file" and "log-driver" not in flags_given:
        wanted["log-driver"] = "json-file"
        wanted["log-opts"] = _merged_value(dict(log_options), wanted.get("log-opts", {}), False)
    skipped = tuple(sorted(key for key in wanted if key in flags_given and existing.get(key) != wanted[key]))
    after = copy.deepcopy(dict(existing))
    for key, value in wanted.items():
        if key not in flags_given:
            after[key] = _merged_value(after.get(key), value, key in UNITED)
    return OptionsPlan(dict(existing), after, skipped)


def added(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What ``after`` has beyond ``before``: kept in a record, so that it can be withdrawn."""
    found: dict[str, Any] = {}
    for key, value in after.items():
        former = before.get(key)
        if key in before and former == value:
            continue
        if isinstance(former, dict) and isinstance(value, dict):
            found[key] = added(former, value)
        elif isinstance(former, list) and isinstance(value, list) and key in UNITED:
            found[key] = [entry for entry in value if entry not in former]
        else:
            found[key] = value
    return found


def without(existing: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The file without what the record says is ours; what was changed since is the operator's."""
    left: dict[str, Any] = {}
    for key, value in existing.items():
        kept = _without(value, record[key]) if key in record else value
        if kept is not None:
            left[key] = kept
    return left


def _merged_value(existing: Any, wanted: Any, united: bool) -> Any:
    if isinstance(existing, dict) and isinstance(wanted, dict):
        return {**existing, **{key: _merged_value(existing.get(key), value, False) for key, value in wanted.items()}}
    if united and isinstance(existing, list) and isinstance(wanted, list):
        return [*existing, *(value for value in wanted if value not in existing)]
    return copy.deepcopy(wanted)


def _without(existing: Any, ours: Any) -> Any:
    """What is left of a value without ours; None where nothing is."""
    if isinstance(existing, dict) and isinstance(ours, dict):
        return without(existing, ours) or None
    if isinstance(existing, list) and isinstance(ours, list):
        return [value for value in existing if value not in ours] or None
    return None if existing == ours else existing
