# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The message classes under the names that generated code would give them."""

from __future__ import annotations

from typing import Any

from mlops_runtime.serving.proto import DESCRIPTOR, message_class

for _name, _descriptor in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = message_class(_descriptor)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"seldon.protos has no message {name}")
