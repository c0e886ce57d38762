# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Seldon's messages, made from prediction.binpb when imported.

No generated code: generated code demands a protobuf at least as new as its compiler, and here the model's own
environment decides which protobuf there is. This works with every protobuf from 3.20 on.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    empty_pb2,
    message_factory,
    struct_pb2,
)

__all__ = ["DESCRIPTOR", "add_to_pool", "any_pb2", "empty_pb2", "message_class", "struct_pb2"]

_PREDICTION = "proto/prediction.proto"


def add_to_pool() -> Any:
    """Describe Seldon's messages to protobuf and return the file's descriptor."""
    pool = descriptor_pool.Default()
    if importlib.util.find_spec("tensorflow") is not None:
        # Its own TensorProto comes first: two descriptions of one message don't go together.
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorflow.core.framework.tensor_pb2")
    files = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("prediction.binpb").read_bytes())
    for file in files.file:
        try:
            pool.FindFileByName(file.name)
        except KeyError:
            pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(_PREDICTION)


def message_class(descriptor: Any) -> Any:
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    from google.protobuf import symbol_database  # protobuf before 4.22

    known: Any = symbol_database.Default()
    return known.GetPrototype(descriptor)


DESCRIPTOR = add_to_pool()
