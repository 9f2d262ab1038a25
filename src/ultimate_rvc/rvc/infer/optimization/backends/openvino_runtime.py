"""OpenVINO, for Intel's and other processors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ultimate_rvc.choices import Backend as BackendName
from ultimate_rvc.errors import BackendError
from ultimate_rvc.rvc.infer.optimization.backends.onnx_runtime import needed_packages
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, PartName, Runner
from ultimate_rvc.rvc.infer.optimization.backends.protocol import BFLOAT16, FLOAT32, INT8, Plan
from ultimate_rvc.rvc.infer.optimization.backends.torchscript import traced

FILE_NAME = "part.xml"  # its weights are in a .bin beside it
INT8_PARTS = (PartName.CONTENT, PartName.VOCODER)


class OpenVINO:
    """Runs a model of OpenVINO's on the processor, whatever the path's own device is."""

    name = BackendName.OPENVINO
    precisions: tuple[str, ...] = (FLOAT32, BFLOAT16, INT8)

    def version(self) -> str:
        return needed_packages(self.name, "openvino")

    def export(self, part: Part, folder: Path, plan: Plan) -> None:
        openvino = _openvino()
        # Traced here: OpenVINO would trace twice, to compare.
        model = openvino.convert_model(traced(part), example_input=part.example(), input=_shapes(part))
        for opened, port in zip(model.inputs, part.inputs, strict=True):
            opened.set_names({port.name})
        if plan.precision == INT8 and part.name in INT8_PARTS:
            model = _in_int8(model, part, plan.recorded()[part.name])
        openvino.save_model(model, folder / FILE_NAME, compress_to_fp16=False)

    def load(self, part: Part, folder: Path, plan: Plan) -> Runner:
        openvino = _openvino()
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if plan.precision == BFLOAT16 else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = openvino.Core().compile_model(folder / FILE_NAME, "CPU", settings)
        request = compiled.create_infer_request()

        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            # Outputs are copied: the request's own memory is written again by the next call.
            found = request.infer([tensor.cpu().numpy() for tensor in inputs], share_inputs=True)
            return tuple(
                torch.from_numpy(found[output].copy()).to(inputs[0].device) for output in compiled.outputs
            )

        return run


def _openvino() -> Any:
    """OpenVINO without ``openvino_telemetry``: with it, every import and every model is told to Google Analytics.

    It does without where that package is missing. Told were versions and layers, each by a process of its own.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _shapes(part: Part) -> list[Any]:
    from openvino import PartialShape, Type

    return [
        (
            PartialShape([-1 if size is None else size for size in port.shape]),
            Type.i64 if port.below else Type.f32,
        )
        for port in part.inputs
    ]


def _in_int8(model: Any, part: Part, recorded: Sequence[tuple[Tensor, ...]]) -> Any:
    needed_packages(BackendName.OPENVINO, "nncf")
    import nncf

    if not recorded:
        raise BackendError("int8 needs recorded inputs, and there are none.")
    items = [[tensor.cpu().numpy() for tensor in inputs] for inputs in recorded]
    with redirect_stdout(sys.stderr):  # it draws progress bars, and standard output is for results
        return nncf.quantize(model, nncf.Dataset(items), subset_size=len(items))
