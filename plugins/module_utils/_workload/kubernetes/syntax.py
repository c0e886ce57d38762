# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes takes for a name (apimachinery, pkg/util/validation)."""

from __future__ import annotations

import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PORT = re.compile(r"(?!.*--)(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")


def is_dns_label(text: str) -> bool:
    return _LABEL.fullmatch(text) is not None


def is_service_name(text: str) -> bool:
    """A DNS label that begins with a letter."""
    return _SERVICE.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    return len(text) <= 253 and _SUBDOMAIN.fullmatch(text) is not None


def is_port_name(text: str) -> bool:
    return _PORT.fullmatch(text) is not None


def is_qualified_name(text: str) -> bool:
    """The key of a label or annotation: a name, with or without a subdomain and a slash before it."""
    prefix, slash, name = text.rpartition("/")
    return _NAME.fullmatch(name) is not None and (not slash or is_subdomain(prefix))


def is_label_value(text: str) -> bool:
    return text == "" or _NAME.fullmatch(text) is not None
