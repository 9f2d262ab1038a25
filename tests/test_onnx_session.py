"""ONNX Runtime's sessions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

USE = """
import sys
import numpy as np
{first}
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
assert session.run(None, {{"x": np.ones(2, np.float32)}})[0].tolist() == [1, 1]
"""


def files_written(home: Path, network: Path, first: str) -> list[Path]:
    """What a process that runs a network leaves in its user's home."""
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    command = [sys.executable, "-c", USE.format(first=first), str(network)]
    subprocess.run(command, env=environment, check=True)
    return [path for path in home.rglob("*") if path.is_file()]


def test_onnx_runtime_reports_to_nobody(tmp_path: Path) -> None:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", ports[:1], ports[1:])
    network = tmp_path / "same.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), network)
    if not files_written(tmp_path / "without", network, ""):
        pytest.skip("this ONNX Runtime writes nothing down by itself")
    assert files_written(tmp_path / "with", network, "import ultimate_rvc") == []
