# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that are imported when one is used.

A task that uses any filter of the collection imports every file in plugins/filter, in a process of its own and without
bytecode: what those files bring is paid for in each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def late(module: str, *names: str) -> dict[str, Callable[..., Any]]:
    """Those functions of a module beside this one, by name, as Ansible takes filters."""

    def filter_of(name: str) -> Callable[..., Any]:
        def used(*values: Any, **options: Any) -> Any:
            return getattr(import_module(f".{module}", __package__), name)(*values, **options)

        return used

    return {name: filter_of(name) for name in names}
