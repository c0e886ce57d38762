# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The compiled description of Seldon's messages is that of the .proto files."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlops_runtime.serving import proto
from mlops_runtime.serving.proto import prediction_pb2


def test_compiled_description_is_current(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    from mlops_runtime.serving.proto.compile import compile_protos

    compile_protos(tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == Path(proto.__file__).with_name("prediction.binpb").read_bytes()


def test_services_and_messages_of_seldon() -> None:
    services = proto.DESCRIPTOR.services_by_name
    assert set(services) == {"Generic", "Model", "Router", "Transformer", "OutputTransformer", "Combiner", "Seldon"}
    assert prediction_pb2.SeldonMessage.DESCRIPTOR.full_name == "seldon.protos.SeldonMessage"
