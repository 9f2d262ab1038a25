"""Each backend by its name; a module is imported only when its backend is asked for."""

from __future__ import annotations

from ultimate_rvc.choices import Backend as BackendName
from ultimate_rvc.rvc.infer.optimization.backends.protocol import Backend


def backend_named(name: BackendName) -> Backend:
    """One of those that networks are exported for; its libraries are not loaded yet."""
    if name is BackendName.TORCHSCRIPT:
        from ultimate_rvc.rvc.infer.optimization.backends.torchscript import TorchScript

        return TorchScript()
    if name is BackendName.ONNX:
        from ultimate_rvc.rvc.infer.optimization.backends.onnx_runtime import OnnxRuntime

        return OnnxRuntime()
    if name is BackendName.TENSORRT:
        from ultimate_rvc.rvc.infer.optimization.backends.tensorrt import TensorRT

        return TensorRT()
    if name is BackendName.OPENVINO:
        from ultimate_rvc.rvc.infer.optimization.backends.openvino_runtime import OpenVINO

        return OpenVINO()
    if name is BackendName.COREML:
        from ultimate_rvc.rvc.infer.optimization.backends.core_ml import CoreML

        return CoreML()
    if name is BackendName.MLX:
        from ultimate_rvc.rvc.infer.optimization.backends.mlx_runtime import Mlx

        return Mlx()
    raise ValueError(f"{name} exports nothing")
