# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A description of the REST paths for tools, served as /seldon.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ARRAY = {
    "type": "object",
    "properties": {
        "names": {"type": "array", "items": {"type": "string"}},
        "ndarray": {"type": "array", "items": {}},
        "tensor": {
            "type": "object",
            "properties": {
                "shape": {"type": "array", "items": {"type": "integer"}},
                "values": {"type": "array", "items": {"type": "number"}},
            },
        },
        "tftensor": {"type": "object"},
    },
}
_SCHEMAS = {
    "DefaultData": _ARRAY,
    "Meta": {
        "type": "object",
        "properties": {
            "puid": {"type": "string"},
            "tags": {"type": "object"},
            "routing": {"type": "object", "additionalProperties": {"type": "integer"}},
            "requestPath": {"type": "object", "additionalProperties": {"type": "string"}},
            "metrics": {"type": "array", "items": {"type": "object"}},
        },
    },
    "Status": {
        "type": "object",
        "properties": {
            "code": {"type": "integer"},
            "info": {"type": "string"},
            "reason": {"type": "string"},
            "status": {"type": "integer"},
        },
    },
    "SeldonMessage": {
        "type": "object",
        "properties": {
            "status": {"$ref": "#/components/schemas/Status"},
            "meta": {"$ref": "#/components/schemas/Meta"},
            "data": {"$ref": "#/components/schemas/DefaultData"},
            "binData": {"type": "string", "format": "byte"},
            "strData": {"type": "string"},
            "jsonData": {},
        },
    },
    "SeldonMessageList": {
        "type": "object",
        "properties": {"seldonMessages": {"type": "array", "items": {"$ref": "#/components/schemas/SeldonMessage"}}},
    },
    "Feedback": {
        "type": "object",
        "properties": {
            **{name: {"$ref": "#/components/schemas/SeldonMessage"} for name in ("request", "response", "truth")},
            "reward": {"type": "number"},
        },
    },
}
_BODIES = {"feedback": "Feedback", "aggregate": "SeldonMessageList"}


def _content(schema: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def description(routes: Mapping[str, tuple[tuple[str, ...], Any, str | None]]) -> dict[str, Any]:
    """OpenAPI 3 for the application's routes: path -> (methods, handler, service)."""
    paths: dict[str, Any] = {}
    for path, (methods, _, service) in routes.items():
        answers = {"200": {"description": "the answer", **_content("SeldonMessage")}}
        if service is None:
            paths[path] = {"get": {"responses": {"200": {"description": "the answer"}}}}
        elif "POST" in methods:
            body = {"required": True, **_content(_BODIES.get(service, "SeldonMessage"))}
            answers["400"] = {"description": "what is wrong with the request", **_content("SeldonMessage")}
            paths[path] = {"post": {"requestBody": body, "responses": answers}}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Seldon's v1 protocol", "version": "1.0"},
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }
