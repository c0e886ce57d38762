# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Helpers for classes that read and write Seldon's messages themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from mlops_runtime.serving import payload
from mlops_runtime.serving.seldon import messages

seldon_message_to_json = seldon_messages_to_json = feedback_to_json = payload.json_of_proto
grpc_datadef_to_array = payload.array_of_data


def json_to_seldon_message(message_json: Any) -> Any:
    return payload.proto_of_json(message_json or {}, messages.SeldonMessage)


def json_to_seldon_messages(message_json: Any) -> Any:
    return payload.proto_of_json(message_json or {}, messages.SeldonMessageList)


def json_to_feedback(message_json: Any) -> Any:
    return payload.proto_of_json(message_json or {}, messages.Feedback)


def get_data_from_proto(request: Any) -> Any:
    return payload.features_of_proto(request)[0]


def get_meta_from_proto(request: Any) -> dict[str, Any]:
    return payload.json_of_proto(request.meta)


def extract_request_parts(request: Any) -> tuple[Any, Any, Any, Any]:
    """Features, meta, DefaultData and the kind of a SeldonMessage."""
    features, meta, _ = payload.features_of_proto(request)
    return features, meta, request.data, request.WhichOneof("data_oneof")


def extract_request_parts_json(request: Any) -> tuple[Any, Any, Any, Any]:
    """Features, meta, data and the kind of a message in JSON."""
    features, meta, _ = payload.features_of_json(request)
    kind = next(kind for kind in ("data", "jsonData", "strData", "binData") if kind in request)
    return features, meta, request.get("data"), kind


def array_to_rest_datadef(data_type: str, array: Any, names: Iterable[str] | None = ()) -> dict[str, Any]:
    request = {"data": {data_type: None}}
    data: dict[str, Any] = payload.answer_json(request, array, {}, lambda _array: list(names or []))["data"]
    return data


def array_to_grpc_datadef(data_type: str, array: Any, names: Iterable[str] | None = ()) -> Any:
    data = messages.DefaultData()
    payload.write_array(data, data_type, array, names or [])
    return data


def array_to_list_value(array: Any, lv: Any = None) -> Any:
    from google.protobuf.struct_pb2 import ListValue

    target = ListValue() if lv is None else lv
    payload.write_list(np.asarray(array), target)
    return target


def getenv(*env_vars: str, default: Any = None) -> Any:
    return next((os.environ[name] for name in env_vars if name in os.environ), default)


def getenv_as_bool(*env_vars: str, default: Any = False) -> Any:
    value = getenv(*env_vars)
    return default if value is None else value.lower() in ("1", "true", "t")
