"""Dynamic int8: weights in 8 bits for each row, activations quantised at every call.

Reading takes a step of the decoder for two frames, and each step reads all of its weights: in a quarter of the
bytes it takes less than a third of the time. torch's workflow for this (``torch.ao.quantization``) is deprecated,
its kernels are not; they are called here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ultimate_rvc.errors import SpeechError

LEAST_WEIGHTS = 1 << 15  # a smaller layer gains nothing
STEPS = 127
# Activations keep to 7 bits, as torch has it: without VNNI, sums of two products in 16 bits overflow.
SEVEN_BITS = True
_CELL_WEIGHTS = ("weight_ih", "weight_hh")


class Int8Linear(nn.Module):
    """``(..., inputs)`` to ``(..., outputs)`` in float32, through int8."""

    def __init__(self, weight: Tensor, bias: Tensor | None, scale: Tensor) -> None:
        super().__init__()
        zero = torch.zeros(len(scale), dtype=torch.long)
        values = in_steps(weight, scale)
        quantized = torch._make_per_channel_quantized_tensor(values, scale.double(), zero, 0)
        self._packed = torch.ops.quantized.linear_prepack(quantized, bias)

    def forward(self, signal: Tensor) -> Tensor:
        output: Tensor = torch.ops.quantized.linear_dynamic(signal, self._packed, SEVEN_BITS)
        return output


class _Int8Cell(nn.Module):
    def __init__(self, cell: nn.RNNCellBase, scales: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.inputs = Int8Linear(cell.weight_ih.data, cell.bias_ih.data, scales["weight_ih"])
        self.recurrent = Int8Linear(cell.weight_hh.data, cell.bias_hh.data, scales["weight_hh"])


class Int8LSTMCell(_Int8Cell):
    """As ``nn.LSTMCell``: (batch, inputs) and the state, twice (batch, hidden), to the next state."""

    def forward(self, signal: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        hidden, cell = state
        enters, forgets, candidate, leaves = (self.inputs(signal) + self.recurrent(hidden)).chunk(4, dim=1)
        cell = torch.sigmoid(forgets) * cell + torch.sigmoid(enters) * torch.tanh(candidate)
        return torch.sigmoid(leaves) * torch.tanh(cell), cell


class Int8GRUCell(_Int8Cell):
    """As ``nn.GRUCell``: (batch, inputs) and the state (batch, hidden) to the next state."""

    def forward(self, signal: Tensor, hidden: Tensor) -> Tensor:
        reset_in, update_in, new_in = self.inputs(signal).chunk(3, dim=1)
        reset_back, update_back, new_back = self.recurrent(hidden).chunk(3, dim=1)
        candidate = torch.tanh(new_in + torch.sigmoid(reset_in + reset_back) * new_back)
        return torch.lerp(candidate, hidden, torch.sigmoid(update_in + update_back))


def quantize(network: nn.Module, scales: Mapping[str, Tensor] | None = None) -> nn.Module:
    """``network`` with its large linear layers and cells in int8, in place.

    ``scales`` are those that :func:`int8_state` gave, by the name of a weight; else they are found.

    Raises
    ------
    SpeechError
        This torch has no int8 kernels for this processor, or the network is on a GPU.
    """
    if next(network.parameters()).device.type != "cpu" or not hasattr(torch.ops.quantized, "linear_dynamic"):
        raise SpeechError("The precision int8 runs on processors only, with a torch that has int8 kernels.")
    for name, layer in list(quantizable(network)):
        parent, _, last = name.rpartition(".")
        found = {
            weight: (scales or {}).get(f"{name}.{weight}", row_scales(getattr(layer, weight).data))
            for weight in _weights_of(layer)
        }
        setattr(network.get_submodule(parent), last, _replaced(layer, found))
    return network


def quantizable(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers that are quantised, by name."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.LSTMCell | nn.GRUCell) and name:
            first: Tensor = getattr(layer, _weights_of(layer)[0])
            if first.numel() >= LEAST_WEIGHTS:
                yield name, layer


def int8_state(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network in float32 with int8 weights and their scales (``NAME_scale``), for a file."""
    state = dict(network.state_dict())
    for name, layer in quantizable(network):
        for weight in _weights_of(layer):
            values = state[f"{name}.{weight}"]
            scale = row_scales(values)
            state[f"{name}.{weight}"], state[f"{name}.{weight}_scale"] = in_steps(values, scale), scale
    return state


def float_state(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What :func:`int8_state` made, in float32 again, and the scales; other states come back with no scales."""
    scales = {
        name.removesuffix("_scale"): tensor
        for name, tensor in state.items()
        if name.endswith("_scale") and state.get(name.removesuffix("_scale"), tensor).dtype is torch.int8
    }
    wide = {
        name: tensor.float() * scales[name][:, None] if name in scales else tensor
        for name, tensor in state.items()
        if name.removesuffix("_scale") not in scales or name in scales
    }
    return wide, scales


def row_scales(weight: Tensor) -> Tensor:
    """The step of each row, (outputs,)."""
    return (weight.abs().amax(dim=1) / STEPS).clamp_min(torch.finfo(torch.float32).tiny)


def in_steps(weight: Tensor, scale: Tensor) -> Tensor:
    """``weight`` (outputs, inputs) in whole steps, int8."""
    return (weight / scale[:, None]).round().clamp(-STEPS, STEPS).to(torch.int8)


def _weights_of(layer: nn.Module) -> tuple[str, ...]:
    return ("weight",) if isinstance(layer, nn.Linear) else _CELL_WEIGHTS


def _replaced(layer: nn.Module, scales: Mapping[str, Tensor]) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return Int8Linear(
            layer.weight.data, None if layer.bias is None else layer.bias.data, scales["weight"]
        )
    assert isinstance(layer, nn.RNNCellBase)
    return Int8LSTMCell(layer, scales) if isinstance(layer, nn.LSTMCell) else Int8GRUCell(layer, scales)
