"""TorchScript: a trace of the network, frozen."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from ultimate_rvc.choices import Backend as BackendName
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, Runner
from ultimate_rvc.rvc.infer.optimization.backends.protocol import FLOAT32, Plan

FILE_NAME = "part.pt"


class TorchScript:
    """Runs where torch runs, without Python between the layers."""

    name = BackendName.TORCHSCRIPT
    precisions: tuple[str, ...] = (FLOAT32,)

    def version(self) -> str:
        return str(torch.__version__)

    def export(self, part: Part, folder: Path, plan: Plan) -> None:
        torch.jit.save(torch.jit.freeze(traced(part)), folder / FILE_NAME)

    def load(self, part: Part, folder: Path, plan: Plan) -> Runner:
        script = torch.jit.load(folder / FILE_NAME, map_location=plan.device)  # type: ignore[no-untyped-call]

        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            # Optimised execution would be tuned to each length anew, at the second call of it.
            with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
                outputs = script(*inputs)
            return outputs if isinstance(outputs, tuple) else (outputs,)

        return run


def traced(part: Part, length: int | None = None) -> torch.jit.ScriptModule:
    """The layers that an example of so many steps goes through."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of sizes that a trace takes for constants: the tests compare several
        # Unchecked: a second run would take as long again, and the tests compare with the network itself.
        example = part.example(length)
        script: torch.jit.ScriptModule
        script = torch.jit.trace(part.network.eval(), example, check_trace=False)  # type: ignore[no-untyped-call]
        return script
