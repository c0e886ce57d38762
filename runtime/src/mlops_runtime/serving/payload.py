# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Seldon's messages to what a model's class takes, and its answers back, for JSON and for protobuf.

JSON never goes through protobuf, which would make every integer a float.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from google.protobuf import any_pb2, json_format, struct_pb2

from mlops_runtime.serving.seldon import SeldonMicroserviceException, messages
from mlops_runtime.serving.tensors import array_of_tensor, tensor_of_array

Array = np.ndarray[Any, Any]
Json = dict[str, Any]
Namer = Callable[[Array], Iterable[str]]

_SHOWN = 1000


def bad_data(message: str) -> SeldonMicroserviceException:
    return SeldonMicroserviceException(message, status_code=400)


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


# Requests


def features_of_json(request: Any, keep_types: bool = False) -> tuple[Any, Json | None, list[str]]:
    """Features, meta and names of a request in JSON.

    numpy makes every cell of a table a string when one of them is; with `keep_types` such a table stays one of objects.
    """
    if not isinstance(request, dict):
        raise bad_data(f"Invalid request data type: {_shown(request)}")
    meta = request.get("meta")
    if meta is not None and not isinstance(meta, dict):
        raise bad_data("meta must be an object")
    if "data" in request:
        data = request["data"]
        if not isinstance(data, dict):
            raise bad_data("data must be an object with ndarray, tensor or tftensor")
        names = data.get("names") or []
        if not isinstance(names, list):
            raise bad_data("data.names must be a list")
        return _array_of_json(data, keep_types), meta, names
    if "jsonData" in request:
        return request["jsonData"], meta, []
    if "strData" in request:
        return request["strData"], meta, []
    if "binData" in request:
        try:
            return base64.b64decode(request["binData"]), meta, []
        except (binascii.Error, ValueError, TypeError) as error:
            raise bad_data(f"binData isn't base64: {error}") from error
    raise bad_data(f"Invalid request data type: {_shown(request)}")


def _array_of_json(data: Json, keep_types: bool) -> Array:
    try:
        if "tensor" in data:
            tensor = data["tensor"]
            return np.array(tensor["values"]).reshape(tensor["shape"])
        if "ndarray" in data:
            array = np.array(data["ndarray"])
            if keep_types and array.dtype.kind == "U":
                return np.array(data["ndarray"], dtype=object)
            return array
        if "tftensor" in data:
            tensor = messages.DefaultData().tftensor
            json_format.ParseDict(data["tftensor"], tensor)
            return array_of_tensor(tensor)
    except KeyError as error:
        raise bad_data(f"data.tensor has no {error}") from error
    except (ValueError, TypeError, OverflowError, json_format.ParseError) as error:
        raise bad_data(f"data isn't an array: {error}") from error
    return np.array([])


def features_of_proto(request: Any, keep_types: bool = False) -> tuple[Any, Json, list[str]]:
    """Features, meta and names of a SeldonMessage."""
    kind = request.WhichOneof("data_oneof")
    meta = json_format.MessageToDict(request.meta) if request.HasField("meta") else {}
    if kind == "data":
        return array_of_data(request.data, keep_types), meta, list(request.data.names)
    if kind in ("binData", "strData", "customData"):
        return getattr(request, kind), meta, []
    if kind == "jsonData":
        return json_format.MessageToDict(request.jsonData), meta, []
    raise bad_data("Unknown data in SeldonMessage")


def array_of_data(data: Any, keep_types: bool = False) -> Array:
    """The array in a DefaultData; an empty one where there is none."""
    kind = data.WhichOneof("data_oneof")
    try:
        if kind == "tensor":
            values = data.tensor.values
            return np.fromiter(values, dtype=np.float64, count=len(values)).reshape(list(data.tensor.shape))
        if kind == "ndarray":
            rows = _list_of_value(data.ndarray)
            array = np.array(rows)
            return np.array(rows, dtype=object) if keep_types and array.dtype.kind == "U" else array
        if kind == "tftensor":
            return array_of_tensor(data.tftensor)
    except (ValueError, TypeError) as error:
        raise bad_data(f"data isn't an array: {error}") from error
    return np.array([])


def _list_of_value(values: Any) -> list[Any]:
    return [_python_of_value(value) for value in values.values]


def _python_of_value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return _list_of_value(value.list_value)
    if kind == "struct_value":
        return json_format.MessageToDict(value.struct_value)
    return None if kind in (None, "null_value") else getattr(value, kind)


# Answers


def answer_json(request: Json, data: Any, meta: Json, names: Namer) -> Json:
    """A class's answer as Seldon's JSON, in the kind of array in which the request came."""
    if isinstance(data, dict):
        return {"jsonData": data, "meta": meta}
    if isinstance(data, bytes | bytearray):
        return {"binData": base64.b64encode(data).decode(), "meta": meta}
    if isinstance(data, str):
        return {"strData": data, "meta": meta}
    if isinstance(data, np.ndarray):
        array = data
    elif isinstance(data, list):
        array = np.array(data)
    else:
        raise bad_data(f"Unknown data type returned as payload (must be list or np array):{_shown(data)}")
    sent = request.get("data") if isinstance(request, dict) else None
    numeric = array.dtype.kind in "iufc"
    if numeric and (sent is None or "tensor" in sent):
        content: Json = {"tensor": {"values": array.ravel().tolist(), "shape": array.shape}}
    elif numeric and sent is not None and "tftensor" in sent:
        tensor = tensor_of_array(array, messages.DefaultData().tftensor)
        content = {"tftensor": json.loads(json_format.MessageToJson(tensor))}
    else:
        content = {"ndarray": data if isinstance(data, list) else array.tolist()}
    content["names"] = names(array)
    return {"data": content, "meta": meta}


def answer_proto(request: Any, data: Any, meta: Json, names: Namer) -> Any:
    """A class's answer as a SeldonMessage, in the kind of array in which the request came."""
    answer = messages.SeldonMessage()
    answer.meta.SetInParent()
    if meta:
        json_format.ParseDict(meta, answer.meta)
    if isinstance(data, np.ndarray | list):
        array = np.array(data) if isinstance(data, list) else data
        kind = "ndarray"
        if array.dtype.kind in "iufc":
            is_array = request.WhichOneof("data_oneof") == "data"
            kind = (request.data.WhichOneof("data_oneof") or "ndarray") if is_array else "tensor"
        write_array(answer.data, kind, array, names(array))
    elif isinstance(data, str):
        answer.strData = data
    elif isinstance(data, dict):
        json_format.ParseDict(data, answer.jsonData)
    elif isinstance(data, bytes | bytearray):
        answer.binData = bytes(data)
    elif isinstance(data, any_pb2.Any):
        answer.customData.CopyFrom(data)
    else:
        raise bad_data(f"Unknown data type returned as payload:{_shown(data)}")
    return answer


def write_array(data: Any, kind: str, array: Array, names: Iterable[str]) -> None:
    """Fill a DefaultData."""
    data.names.extend(str(name) for name in names)
    if kind == "tensor":
        data.tensor.shape.extend(array.shape)
        data.tensor.values.extend(array.ravel().tolist())
    elif kind == "tftensor":
        tensor_of_array(array, data.tftensor)
    else:
        data.ndarray.SetInParent()
        write_list(array, data.ndarray)


def write_list(array: Array, target: struct_pb2.ListValue) -> None:
    if array.ndim == 1:
        target.extend(array.tolist())
    else:
        for row in array:
            write_list(row, target.add_list())


# Messages as a whole


def proto_of_json(message: Any, kind: Any) -> Any:
    """A message of class `kind` from JSON, as protobuf maps it."""
    target = kind()
    try:
        json_format.ParseDict(message, target)
    except (json_format.ParseError, TypeError, AttributeError) as error:
        raise bad_data(f"Invalid JSON: {error}") from error
    return target


def json_of_proto(message: Any) -> Json:
    result: Json = json_format.MessageToDict(message)
    return result
