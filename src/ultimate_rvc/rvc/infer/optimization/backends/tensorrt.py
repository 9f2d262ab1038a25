"""TensorRT, as a provider of ONNX Runtime: NVIDIA GPUs only. Its engines lie beside the exported network.

Not run so far: it needs an NVIDIA GPU, the package onnxruntime-gpu and TensorRT's libraries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultimate_rvc.choices import Backend as BackendName
from ultimate_rvc.errors import SettingError
from ultimate_rvc.onnx_session import TENSORRT_PROVIDER
from ultimate_rvc.rvc.infer.optimization.backends.onnx_runtime import (
    FILE_NAME,
    needed_packages,
    providers_for,
    session_runner,
    write_onnx,
)
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, Port, Runner
from ultimate_rvc.rvc.infer.optimization.backends.protocol import FLOAT16, FLOAT32, Plan

ENGINES = "engines"  # a folder of its own: the record of an export names files only


class TensorRT:
    """Runs an ``.onnx`` file on engines that TensorRT makes of it, for the shapes that a part can have."""

    name = BackendName.TENSORRT
    precisions: tuple[str, ...] = (FLOAT32, FLOAT16)

    def version(self) -> str:
        import onnxruntime

        if TENSORRT_PROVIDER not in onnxruntime.get_available_providers():
            raise SettingError(
                "backend is tensorrt, but this ONNX Runtime has no TensorRT: it needs an NVIDIA GPU, the package "
                "onnxruntime-gpu and TensorRT's libraries; leave backend at auto otherwise.",
                "backend",
            )
        return needed_packages(self.name, "onnx", "onnxscript")

    def export(self, part: Part, folder: Path, plan: Plan) -> None:
        write_onnx(part, folder / FILE_NAME)

    def load(self, part: Part, folder: Path, plan: Plan) -> Runner:
        options = engine_options(
            part, folder / ENGINES, half=plan.precision == FLOAT16, device=plan.device.index
        )
        return session_runner(folder / FILE_NAME, [(TENSORRT_PROVIDER, options), *providers_for(plan.device)])


def engine_options(part: Part, engines: Path, *, half: bool, device: int | None) -> dict[str, Any]:
    """What the provider is told: one engine for all lengths of ``part``, kept in the folder ``engines``."""
    usual = max(part.lengths) if part.lengths else (part.fewest + part.most) // 2
    lengths = {
        "min": min(part.lengths or (part.fewest,)),
        "opt": usual,
        "max": max(part.lengths or (part.most,)),
    }
    profiles = {
        f"trt_profile_{name}_shapes": ",".join(f"{port.name}:{_shape(port, steps)}" for port in part.inputs)
        for name, steps in lengths.items()
    }
    return {
        "device_id": device or 0,
        "trt_fp16_enable": half,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": True,
        **profiles,
    }


def _shape(port: Port, steps: int) -> str:
    return "x".join(str(steps * port.per_step if size is None else size) for size in port.shape)
