"""MLX, for Apple Silicon: the layers that torch exports, each computed by MLX.

There is no second tree of modules: a network is exported once (``torch.export``), and its graph is walked with the
operations of :mod:`.mlx_operations`. So every encoder and every vocoder runs, from the same voice files.

Run on Linux with MLX for processors so far, not on a Mac.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from ultimate_rvc.choices import Backend as BackendName
from ultimate_rvc.errors import BackendError
from ultimate_rvc.rvc.infer.optimization.backends.graph import exported_program
from ultimate_rvc.rvc.infer.optimization.backends.onnx_runtime import needed_packages
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, Runner
from ultimate_rvc.rvc.infer.optimization.backends.protocol import FLOAT16, FLOAT32, Plan

FILE_NAME = "part.pt2"


class Mlx:
    """Runs on the Apple GPU, on whatever device the path itself is; arrays go through the host."""

    name = BackendName.MLX
    precisions: tuple[str, ...] = (FLOAT32, FLOAT16)

    def version(self) -> str:
        return needed_packages(self.name, "mlx")

    def export(self, part: Part, folder: Path, plan: Plan) -> None:
        # Without tables of decompositions: what happens in place becomes functional, and layers stay layers.
        torch.export.save(exported_program(part).run_decompositions({}), folder / FILE_NAME)

    def load(self, part: Part, folder: Path, plan: Plan) -> Runner:
        import mlx.core as mx

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the file's bytes cannot be written to
            program = torch.export.load(folder / FILE_NAME)
        graph = MlxGraph(program, half=plan.precision == FLOAT16)
        # Compiling fuses what is between the layers; on a processor it needs a C++ compiler and gains nothing.
        call = mx.compile(graph) if mx.default_device() == mx.Device(mx.gpu) else graph

        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            outputs = call(*(mx.array(tensor.cpu().numpy()) for tensor in inputs))
            mx.eval(outputs)
            device = inputs[0].device
            return tuple(
                torch.from_numpy(np.array(output.astype(mx.float32))).to(device) for output in outputs
            )

        return run


class MlxGraph:
    """An exported network as a function of MLX's arrays.

    Raises
    ------
    BackendError
        It has an operation that is not among those of ``mlx_operations``.
    """

    def __init__(self, program: torch.export.ExportedProgram, *, half: bool) -> None:
        import mlx.core as mx

        from ultimate_rvc.rvc.infer.optimization.backends.mlx_operations import OPERATIONS, weight_layout

        self._float = mx.float16 if half else mx.float32
        self._nodes = _needed(program.graph)
        self._weights: dict[str, Any] = {}
        self._operations: dict[str, Callable[..., Any]] = {}
        layouts = {
            cast(fx.Node, node.args[1]).name: axes
            for node in self._nodes
            if (axes := weight_layout(node)) is not None
        }
        for name, tensor in _constants(program).items():
            array = tensor.detach().cpu()
            array = array.permute(*layouts[name]).contiguous() if name in layouts else array
            self._weights[name] = self._cast(mx.array(array.numpy()))
        for node in self._nodes:
            if node.op == "call_function":
                self._operations[node.name] = _operation(node, OPERATIONS)
        self._inputs = list(program.graph_signature.user_inputs)
        self._last_uses = _last_uses(self._nodes)

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        values = dict(self._weights)
        values.update(zip(self._inputs, map(self._cast, inputs), strict=True))
        for node in self._nodes:
            if node.op == "call_function":
                arguments = fx.node.map_arg(node.args, lambda each: values[each.name])
                keywords = fx.node.map_arg(node.kwargs, lambda each: values[each.name])
                values[node.name] = self._operations[node.name](*arguments, **keywords)
            elif node.op == "output":
                return tuple(values[each.name] for each in cast(tuple[fx.Node, ...], node.args[0]))
            for name in self._last_uses.get(node.name, ()):
                del values[name]
        raise BackendError("The exported network has no output.")

    def _cast(self, array: Any) -> Any:
        import mlx.core as mx

        return array.astype(self._float) if mx.issubdtype(array.dtype, mx.floating) else array


def _constants(program: torch.export.ExportedProgram) -> Mapping[str, Tensor]:
    """Weights and constants by the name of the graph's input that stands for each."""
    signature = program.graph_signature
    named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    found = {
        name: program.state_dict.get(target, program.constants.get(target)) for name, target in named.items()
    }
    found |= {
        name: program.constants[target]
        for name, target in signature.inputs_to_lifted_tensor_constants.items()
    }
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _needed(graph: fx.Graph) -> list[fx.Node]:
    """What the output depends on, in the order of work: without torch's checks of sizes."""
    nodes = list(graph.nodes)
    needed = {node for node in nodes if node.op in ("placeholder", "output")}
    for node in reversed(nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    return [node for node in nodes if node in needed]


def _operation(node: fx.Node, operations: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        if getattr(target, "__module__", "") in (operator.__name__, "_operator", "builtins", "math"):
            assert callable(target)
            return target  # of whole numbers: the sizes of shapes
        raise BackendError(f"MLX has no operation for {target}.")
    name = target.overloadpacket.__name__
    if name not in operations:
        raise BackendError(f"MLX has no operation for {name}.")
    return operations[name]


def _last_uses(nodes: list[fx.Node]) -> dict[str, list[str]]:
    """What is not needed any more after a node, by the node's name: memory is what costs."""
    last: dict[str, str] = {}
    for node in nodes:
        for used in node.all_input_nodes:
            if used.op == "call_function":
                last[used.name] = node.name
    uses: dict[str, list[str]] = {}
    for name, user in last.items():
        uses.setdefault(user, []).append(name)
    return uses
