"""Core ML, for Apple Silicon with its Neural Engine: an ``.mlpackage`` for each network.

A part with few lengths gets a model of each, in which all sizes are known: the Neural Engine runs no others. The
layers of a vocoder need no rearrangement for it: they are convolutions, channels first.

Conversion runs on Linux too, prediction on macOS only, where it was not run so far.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.choices import Backend as BackendName
from ultimate_rvc.errors import BackendError
from ultimate_rvc.rvc.infer.optimization.backends.onnx_runtime import needed_packages
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, Runner
from ultimate_rvc.rvc.infer.optimization.backends.protocol import FLOAT16, FLOAT32, Plan
from ultimate_rvc.rvc.infer.optimization.backends.torchscript import traced

ANY_LENGTH = "any"
COMPILED = ".mlmodelc"  # beside a package, made by macOS when it is first opened


class Model(Protocol):
    """What coremltools opens."""

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs by name, of inputs by name."""


class CoreML:
    """Runs on whatever Core ML chooses of processor, GPU and Neural Engine."""

    name = BackendName.COREML
    precisions: tuple[str, ...] = (FLOAT32, FLOAT16)

    def version(self) -> str:
        return needed_packages(self.name, "coremltools")

    def export(self, part: Part, folder: Path, plan: Plan) -> None:
        for length in part.lengths or (None,):
            converted = convert(part, length, half=plan.precision == FLOAT16)
            converted.save(str(folder / _package(length)))

    def load(self, part: Part, folder: Path, plan: Plan) -> Runner:
        models = {length: open_model(folder / _package(length)) for length in part.lengths or (None,)}
        return model_runner(part, models)


def convert(part: Part, length: int | None, *, half: bool) -> Any:
    """A part as a model of Core ML's, for one length or, without, for all between its fewest and its most steps."""
    import coremltools as ct

    def shape(port: Any) -> Any:
        if length is not None:
            return [length * port.per_step if size is None else size for size in port.shape]
        lowest, highest = part.fewest * port.per_step, part.most * port.per_step
        free = ct.RangeDim(lowest, highest, default=lowest)
        return ct.Shape([free if size is None else size for size in port.shape])

    return ct.convert(
        traced(part, length),
        inputs=[
            ct.TensorType(port.name, shape(port), dtype=np.int32 if port.below else np.float32)
            for port in part.inputs
        ],
        outputs=[ct.TensorType(port.name, dtype=np.float32) for port in part.outputs],
        convert_to="mlprogram",
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        compute_units=ct.ComputeUnit.ALL,
        minimum_deployment_target=ct.target.macOS13,
        skip_model_load=True,
    )


def open_model(package: Path) -> Model:
    """A model to predict with: compiled when it is first opened, and that is kept."""
    import coremltools as ct

    compiled = package.with_suffix(COMPILED)
    if not compiled.is_dir():
        opened = ct.models.MLModel(str(package), compute_units=ct.ComputeUnit.ALL)
        shutil.copytree(opened.get_compiled_model_path(), compiled)
    model: Model = ct.models.CompiledMLModel(str(compiled), compute_units=ct.ComputeUnit.ALL)
    return model


def model_runner(part: Part, models: dict[int | None, Model]) -> Runner:
    """Run a part on the model of its length."""
    place, axis, per_step = next(
        (place, port.time_axis, port.per_step)
        for place, port in enumerate(part.inputs)
        if port.time_axis is not None
    )

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        length = inputs[place].shape[axis] // per_step
        model = models.get(length, models.get(None))
        if model is None:
            raise BackendError(f"There is no model for {length} steps.")
        given = {port.name: _array(tensor) for port, tensor in zip(part.inputs, inputs, strict=True)}
        found = model.predict(given)
        device = inputs[0].device
        return tuple(
            torch.from_numpy(np.asarray(found[port.name], np.float32)).to(device) for port in part.outputs
        )

    return run


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.cpu().numpy()
    return array if tensor.is_floating_point() else array.astype(np.int32)


def _package(length: int | None) -> str:
    return f"part-{length or ANY_LENGTH}.mlpackage"
