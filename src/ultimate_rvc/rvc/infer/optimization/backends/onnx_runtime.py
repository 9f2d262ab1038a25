"""ONNX Runtime: exported by torch, run on whatever providers the installed package has."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ultimate_rvc.choices import Backend as BackendName
from ultimate_rvc.errors import BackendError, SettingError
from ultimate_rvc.onnx_session import CPU_PROVIDER, CUDA_PROVIDER, open_session
from ultimate_rvc.rvc.infer.optimization.backends.graph import exported_program
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, PartName, Runner
from ultimate_rvc.rvc.infer.optimization.backends.protocol import FLOAT16, FLOAT32, INT8, Plan

log = logging.getLogger(__name__)

FILE_NAME = "part.onnx"
OPSET = 18
# By the kind of device, the best first. CoreML's is left out: it compiles anew for every length.
PROVIDERS = {"cuda": [CUDA_PROVIDER, "ROCMExecutionProvider"], "cpu": ["DmlExecutionProvider"]}


class OnnxRuntime:
    """Runs an ``.onnx`` file; inputs and outputs go through the host."""

    name = BackendName.ONNX
    precisions: tuple[str, ...] = (FLOAT32, FLOAT16, INT8)

    def version(self) -> str:
        return needed_packages(self.name, "onnx", "onnxscript", "onnxruntime")

    def export(self, part: Part, folder: Path, plan: Plan) -> None:
        write_onnx(part, folder / FILE_NAME)
        if plan.precision == FLOAT16:
            _to_float16(folder / FILE_NAME)
        elif plan.precision == INT8:
            _to_int8(part, folder / FILE_NAME, plan)

    def load(self, part: Part, folder: Path, plan: Plan) -> Runner:
        return session_runner(folder / FILE_NAME, providers_for(plan.device))


def needed_packages(backend: str, *names: str) -> str:
    """The versions of packages, in one text.

    Raises
    ------
    SettingError
        One of them is not installed.
    """
    from importlib.metadata import PackageNotFoundError

    try:
        return " ".join(f"{name} {version(name)}" for name in names)
    except PackageNotFoundError as error:
        raise SettingError(
            f"backend is {backend}, which needs the package {error.name}: install the extra '{backend}', or leave "
            "backend at auto.",
            "backend",
        ) from error


def write_onnx(part: Part, path: Path) -> None:
    """Write a part for any length of time; a :class:`BackendError` where torch's exporter cannot."""
    if part.name is PartName.PITCH:
        raise BackendError("torch's exporter to ONNX fixes the length that the network's GRU runs over.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own future
        torch.onnx.export(
            exported_program(part), (), path, dynamo=True, opset_version=OPSET, external_data=False, verbose=False,
            input_names=[port.name for port in part.inputs], output_names=[port.name for port in part.outputs],
        )  # fmt: skip


def session_runner(path: Path, providers: Sequence[Any]) -> Runner:
    """Run an ``.onnx`` file on the first of ``providers`` that can."""
    session = open_session(path, providers, threads=torch.get_num_threads())
    names = [port.name for port in session.get_inputs()]

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        given = {name: tensor.cpu().numpy() for name, tensor in zip(names, inputs, strict=True)}
        device = inputs[0].device
        return tuple(torch.from_numpy(array).to(device) for array in session.run(None, given))

    return run


def providers_for(device: torch.device) -> list[str]:
    """What of the installed ONNX Runtime computes on ``device``, the processor last."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    found = [name for name in PROVIDERS.get(device.type, []) if name in available]
    if not found and device.type != "cpu":
        _warn_of_processor(device.type)
    return [*found, CPU_PROVIDER]


@cache  # once, not for each network
def _warn_of_processor(device: str) -> None:
    log.warning("This ONNX Runtime computes nothing on %s; the networks run on the processor.", device)


def _to_float16(path: Path) -> None:
    """Halve the numbers of a file in place; inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)


def _to_int8(part: Part, path: Path, plan: Plan) -> None:
    """Put a vocoder's convolutions, or an encoder's matrix products, into 8 bits; the rest stays float32.

    A vocoder's ranges are measured on recorded inputs.
    """
    if part.name is PartName.CONTENT:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            path, path, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8,
            reduce_range=_sums_saturate(),
        )  # fmt: skip
    elif part.name is PartName.VOCODER:
        recorded = plan.recorded()[part.name]
        if not recorded:
            raise BackendError("int8 needs recorded inputs, and there are none.")
        names = [port.name for port in part.inputs]
        quantize_convolutions(
            path,
            [
                {name: tensor.cpu().numpy() for name, tensor in zip(names, inputs, strict=True)}
                for inputs in recorded
            ],
        )


def quantize_convolutions(path: Path, items: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Put the convolutions of an ONNX file into 8 bits, in place: weights and activations.

    Ranges are measured on ``items``, inputs by name, each of any shape. The last convolution stays in float32: its
    output is the sound, whose quiet parts have no 8 bits to give.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader:
        """One item after another, as ONNX Runtime's calibration asks for them."""

        def __init__(self) -> None:
            self._left = iter(items)

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            return next(self._left, None)

    prepared = path.with_stem("prepared")
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    last = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Conv"][-1]
    quantize_static(
        prepared, path, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"], per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=[last],
        calibrate_method=CalibrationMethod.MinMax, reduce_range=_sums_saturate(),
    )  # fmt: skip
    prepared.unlink()


def _sums_saturate() -> bool:
    """Whether this processor adds products of 8 bits in 16: then weights need a bit of room.

    Of Intel's and AMD's, those without VNNI (ONNX Runtime's documentation of quantisation, "reduce_range").
    """
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    is_x86 = "sse2" in features
    return is_x86 and not (features.get("avx512vnni") or features.get("avxvnni"))
