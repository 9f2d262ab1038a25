"""ONNX Runtime's sessions, opened alike wherever a network is an ``.onnx`` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"
ERRORS = 3  # its warnings are about the graph, which no user can change
FATAL = 4  # its errors are raised too


def open_session(
    network: Path | bytes, providers: Sequence[Any], *, threads: int = 0, told_from: int = ERRORS
) -> InferenceSession:
    """Open a file, or its bytes, on the first of ``providers`` that can.

    ``threads`` of the processor, 0 for ONNX Runtime's own choice; ``told_from`` is the least severity that it writes
    to standard error itself.

    Raises
    ------
    Exception
        Whatever ONNX Runtime raises, whose classes change.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = told_from
    return onnxruntime.InferenceSession(network, options, providers=list(providers))
