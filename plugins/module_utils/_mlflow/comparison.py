# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted compared with what is there; pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import InputError

SPEC_TAG = "mlops.spec"
DIGEST_TAG = "mlops.sha256"
ALIASES_TAG = "mlops.aliases"
# VARCHAR(5000) on PostgreSQL; SQLite and MLflow itself take more, and hide it.
TAG_LIMIT = 5000


@dataclass(frozen=True)
class Changes:
    """Keys to set, with their values, and keys to remove."""

    set: dict[str, str] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.set or self.remove)

    def applied(self, current: Mapping[str, str]) -> dict[str, str]:
        """What ``current`` becomes."""
        kept = {key: value for key, value in current.items() if key not in self.remove}
        return dict(sorted((kept | self.set).items()))


def compact(value: Any) -> str:
    """JSON in its shortest form, the same text for the same data."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def as_text(value: Any) -> str:
    """A tag's or parameter's value as MLflow stores it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return compact(value)
    return str(value)


def as_tags(values: Mapping[str, Any] | None, option: str = "tags") -> dict[str, str]:
    """Tags as text, each within what the registry's database stores."""
    tags = {str(key): as_text(value) for key, value in (values or {}).items()}
    for key, value in tags.items():
        if not key or len(key) > 250:
            raise InputError(f"{option}: the key {key[:40]!r} must have between 1 and 250 characters")
        if len(value) > TAG_LIMIT:
            raise InputError(f"{option}: {key} has {len(value)} characters, the registry stores {TAG_LIMIT} at most")
    return tags


def as_spec(spec: Mapping[str, Any]) -> str:
    """A model's declaration as the value of the tag ``mlops.spec``."""
    text = compact(spec)
    if len(text) > TAG_LIMIT:
        raise InputError(
            f"spec: the declaration has {len(text)} characters as JSON, the registry stores {TAG_LIMIT} at most"
        )
    return text


def same_value(key: str, wanted: str, current: str | None) -> bool:
    """Whether two values of a tag mean the same; a declaration is compared as data."""
    if wanted == current:
        return True
    if key != SPEC_TAG or current is None:
        return False
    try:
        return bool(json.loads(wanted) == json.loads(current))
    except ValueError:
        return False


def tag_changes(
    wanted: Mapping[str, str], current: Mapping[str, str], *, purge: bool = False, keep: frozenset[str] = frozenset()
) -> Changes:
    """Tags to set; with ``purge`` those to remove, except MLflow's own and those in ``keep``."""
    to_set = {key: value for key, value in wanted.items() if not same_value(key, value, current.get(key))}
    extra = [key for key in current if key not in wanted and key not in keep and not key.startswith("mlflow.")]
    return Changes(to_set, sorted(extra) if purge else [])


def alias_changes(
    wanted: Mapping[str, str],
    current: Mapping[str, str],
    decided: frozenset[tuple[str, str]],
    *,
    enforce: bool = False,
    purge: bool = False,
) -> Changes:
    """Aliases to set and to remove.

    Unless enforced, an alias is given once, where nobody holds it: once it has been decided for a version, the
    registry owns it, and neither moving nor removing it is undone.

    :param wanted: alias to version.
    :param current: alias to version, as the registered model has them.
    :param decided: pairs of alias and version that were decided before.
    """
    if enforce:
        to_set = {alias: version for alias, version in wanted.items() if current.get(alias) != version}
        return Changes(to_set, sorted(set(current) - set(wanted)) if purge else [])
    return Changes(
        {
            alias: version
            for alias, version in wanted.items()
            if alias not in current and (alias, version) not in decided
        }
    )


def decided_aliases(tag: str | None) -> set[str]:
    """The aliases that a version's record names."""
    return {alias for alias in (tag or "").split(",") if alias}


def check_alias(alias: str, option: str = "aliases") -> None:
    """MLflow's own rules, said before anything is touched."""
    if not alias or "," in alias or ":" in alias or "/" in alias or alias.lower() == "latest":
        raise InputError(f"{option}: {alias!r} can't be an alias")
    digits = alias[1:] if alias[:1].lower() == "v" else alias
    if digits.isdigit():
        raise InputError(f"{option}: {alias!r} can't be an alias, it reads as a version number")


def quoted(value: str, option: str) -> str:
    """A string for MLflow's filter language."""
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    raise InputError(f"{option}: {value!r} can't hold both kinds of quotes")
