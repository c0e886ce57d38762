# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Write prediction.binpb, the compiled description of the .proto files. Needs grpcio-tools."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def compile_protos(target: Path) -> None:
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as scratch:
        framework = Path(scratch, "tensorflow/core/framework")
        framework.mkdir(parents=True)
        shutil.copy(HERE / "tensor.proto", framework)
        Path(scratch, "proto").mkdir()
        shutil.copy(HERE / "prediction.proto", Path(scratch, "proto"))
        well_known = Path(protoc.__file__).parent / "_proto"
        arguments = ["protoc", f"-I{scratch}", f"-I{well_known}", f"--descriptor_set_out={target}"]
        if protoc.main([*arguments, "tensorflow/core/framework/tensor.proto", "proto/prediction.proto"]):
            raise SystemExit("protoc failed")


if __name__ == "__main__":
    compile_protos(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "prediction.binpb")
