"""A part as torch sees through it: the graph of its layers, for any length of time."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from ultimate_rvc.rvc.infer.optimization.backends.part import Part


def exported_program(part: Part) -> ExportedProgram:
    """The graph of a part, on the host."""
    inputs = tuple(tensor.cpu() for tensor in part.example())
    with torch.no_grad():
        return torch.export.export(
            part.network.eval().cpu(), inputs, dynamic_shapes=_dynamic_shapes(part), strict=False,
            # Guards that torch cannot prove, such as min(n, 4 n) = n, are checked at run time instead.
            prefer_deferred_runtime_asserts_over_guards=True,
        )  # fmt: skip


def _dynamic_shapes(part: Part) -> Any:
    """What of the inputs' shapes is free, in the structure of the network's arguments."""
    steps = Dim("steps", min=part.fewest, max=part.most)
    free: list[dict[int, Any]] = [
        {}
        if port.time_axis is None
        else {port.time_axis: steps * port.per_step if port.per_step > 1 else steps}
        for port in part.inputs
    ]
    arguments = signature(part.network.forward).parameters.values()
    named = sum(argument.kind is not Parameter.VAR_POSITIONAL for argument in arguments)
    return tuple(free) if len(free) <= named else (*free[:named], tuple(free[named:]))
