# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Bytes and messages to arrays and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mlops_runtime.serving import payload, wire
from mlops_runtime.serving.metadata import metadata_problems, model_metadata
from mlops_runtime.serving.proto import prediction_pb2
from mlops_runtime.serving.seldon import SeldonMicroserviceException
from mlops_runtime.serving.tensors import array_of_tensor, tensor_of_array

finite = arrays.arrays(np.float64, arrays.array_shapes(max_dims=3, max_side=4), elements=st.floats(allow_nan=False))
DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16"]


@given(finite, st.sampled_from(["ndarray", "tensor", "tftensor"]))
def test_floats_survive_both_protocols_bit_by_bit(array: Any, kind: str) -> None:
    message = prediction_pb2.SeldonMessage()
    payload.write_array(message.data, kind, array, [])
    features, _, _ = payload.features_of_proto(prediction_pb2.SeldonMessage.FromString(message.SerializeToString()))
    assert features.tobytes() == np.ascontiguousarray(array).tobytes() and features.shape == array.shape
    answer = payload.answer_json({"data": {kind: None}}, array, {}, lambda _: [])
    features, _, _ = payload.features_of_json(json.loads(wire.encode(answer)))
    assert np.array_equal(features, array) and features.shape == array.shape


@given(st.data(), st.sampled_from(DTYPES))
def test_every_type_of_tensorflow_that_numpy_has(data: Any, dtype: str) -> None:
    array = data.draw(arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=2, max_side=3)))
    tensor = tensor_of_array(array, prediction_pb2.DefaultData().tftensor)
    back = array_of_tensor(tensor)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_tensors_that_repeat_their_last_value() -> None:
    tensor = prediction_pb2.DefaultData().tftensor
    tensor.dtype = 1
    tensor.tensor_shape.dim.add(size=3)
    tensor.float_val.append(2.5)
    assert array_of_tensor(tensor).tolist() == [2.5, 2.5, 2.5]


@pytest.mark.parametrize("dtype", [0, 14, 21])
def test_tensors_that_numpy_has_no_type_for(dtype: int) -> None:
    tensor = prediction_pb2.DefaultData().tftensor
    tensor.dtype = dtype
    with pytest.raises(ValueError, match="isn't supported"):
        array_of_tensor(tensor)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(["data", "meta", "jsonData", "strData", "binData", "x"]), json_values) | json_values
)
def test_any_json_is_read_or_refused_as_bad_data(message: Any) -> None:
    try:
        payload.features_of_json(message)
    except SeldonMicroserviceException as error:
        assert error.status_code == 400


@given(st.dictionaries(st.sampled_from(["ndarray", "tensor", "tftensor", "names"]), json_values))
def test_any_data_is_read_or_refused_as_bad_data(data: Any) -> None:
    try:
        payload.features_of_json({"data": data})
    except SeldonMicroserviceException as error:
        assert error.status_code == 400


@given(
    st.binary(),
    st.sampled_from(["application/json", "text/plain", "", "multipart/form-data; boundary=a", "multipart/form-data"]),
)
def test_any_body_is_read_or_refused_as_bad_data(body: bytes, content_type: str) -> None:
    try:
        wire.decode(body, content_type, b"")
    except SeldonMicroserviceException as error:
        assert error.status_code == 400


def test_types_of_a_mixed_table_are_kept_on_demand() -> None:
    message = {"data": {"ndarray": [[1, "a"], [2.5, None]]}}
    assert payload.features_of_json(message, keep_types=True)[0].tolist() == [[1, "a"], [2.5, None]]
    texts = {"data": {"ndarray": [[1, "a"]]}}
    assert payload.features_of_json(texts)[0].tolist() == [["1", "a"]]
    assert payload.features_of_json(texts, keep_types=True)[0].tolist() == [[1, "a"]]


def test_answers_that_orjson_does_not_write() -> None:
    assert wire.encode({"jsonData": {"a": float("nan")}}) == b'{"jsonData": {"a": NaN}}'
    assert json.loads(wire.encode({"jsonData": {"a": 2**70}})) == {"jsonData": {"a": 2**70}}
    assert json.loads(wire.encode({"jsonData": {1: np.float64(2.5)}})) == {"jsonData": {"1": 2.5}}
    with pytest.raises(TypeError):
        wire.encode({"jsonData": object()})


@pytest.mark.parametrize(
    "bad",
    [
        {"unknown": 1},
        {"name": 5},
        {"versions": "v1"},
        {"custom": {"a": 1}},
        {"inputs": {}},
        {"inputs": ["x"]},
        {"inputs": [{"messagetype": "ndarray", "schema": {"names": [1]}}]},
        {"inputs": [{"messagetype": "strData", "schema": {}}]},
        {"outputs": [{"datatype": "FLOAT"}]},
    ],
)
def test_bad_metadata(bad: dict[str, Any]) -> None:
    assert metadata_problems(bad)


def test_metadata_of_class_environment_and_defaults() -> None:
    class User:
        def init_metadata(self) -> dict[str, Any]:
            return {"name": "mine", "custom": {"a": "b"}}

    env = {"MODEL_METADATA": "platform: x", "PREDICTIVE_UNIT_IMAGE": "host:5000/image:3"}
    assert model_metadata(User(), env) == {
        "name": "mine", "versions": ["3"], "platform": "x", "inputs": [], "outputs": [], "custom": {"a": "b"},
    }  # fmt: skip
