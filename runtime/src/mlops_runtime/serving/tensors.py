# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's TensorProto to and from numpy, without TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

# Number in TensorFlow's DataType -> (numpy's type, the field that holds single values)
_TYPES: dict[int, tuple[str, str]] = {
    1: ("<f4", "float_val"),
    2: ("<f8", "double_val"),
    3: ("<i4", "int_val"),
    4: ("u1", "int_val"),
    5: ("<i2", "int_val"),
    6: ("i1", "int_val"),
    8: ("<c8", "scomplex_val"),
    9: ("<i8", "int64_val"),
    10: ("?", "bool_val"),
    17: ("<u2", "int_val"),
    18: ("<c16", "dcomplex_val"),
    19: ("<f2", "half_val"),
    22: ("<u4", "uint32_val"),
    23: ("<u8", "uint64_val"),
}
_STRING = 7
_NUMBERS = {np.dtype(name).newbyteorder("="): number for number, (name, _) in _TYPES.items()}


def array_of_tensor(tensor: Any) -> np.ndarray[Any, Any]:
    """The array in a TensorProto. Raises ValueError for a type that has no numpy counterpart or a wrong length."""
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    size = int(np.prod(shape, dtype=np.int64)) if all(length >= 0 for length in shape) else -1
    if size < 0 or tensor.tensor_shape.unknown_rank:
        raise ValueError("tftensor has no definite shape")
    if tensor.dtype == _STRING:
        return _fill(np.array(list(tensor.string_val), dtype=object), size).reshape(shape)
    if tensor.dtype not in _TYPES:
        raise ValueError(f"tftensor of type {tensor.dtype} isn't supported")
    name, field = _TYPES[tensor.dtype]
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, dtype=name)
        if values.size != size:
            raise ValueError(f"tftensor holds {values.size} values, its shape wants {size}")
        return values.reshape(shape).copy()
    numbers = list(getattr(tensor, field))
    if field == "half_val":
        values = np.array(numbers, dtype=np.uint16).view(np.float16)
    elif field in ("scomplex_val", "dcomplex_val"):
        values = np.array(numbers, dtype=np.float64).view(np.complex128)
    else:
        values = np.array(numbers)
    return _fill(values.astype(name), size).reshape(shape)


def _fill(values: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """TensorFlow writes a run of equal values once: the last one given is repeated to fill the shape."""
    if values.size > size or (values.size == 0 and size > 0):
        raise ValueError(f"tftensor holds {values.size} values, its shape wants {size}")
    if values.size == size:
        return values
    return np.concatenate([values, np.repeat(values[-1:], size - values.size)])


def tensor_of_array(array: np.ndarray[Any, Any], tensor: Any) -> Any:
    """Write an array of numbers into an empty TensorProto, as TensorFlow's make_tensor_proto does, and return it."""
    number = _NUMBERS.get(array.dtype.newbyteorder("="))
    if number is None:
        raise ValueError(f"an array of {array.dtype} can't go into a tftensor")
    tensor.dtype = number
    tensor.tensor_shape.SetInParent()
    for length in array.shape:
        tensor.tensor_shape.dim.add(size=length)
    name, field = _TYPES[number]
    if array.size > 1:
        tensor.tensor_content = np.ascontiguousarray(array, dtype=name).tobytes()
    elif array.size == 1:
        value = array.reshape(-1)[0]
        if field == "half_val":
            getattr(tensor, field).append(int(np.asarray(value).view(np.uint16)))
        elif field in ("scomplex_val", "dcomplex_val"):
            getattr(tensor, field).extend([float(value.real), float(value.imag)])
        else:
            getattr(tensor, field).append(value.item())
    return tensor
