"""Weights in 8 bits: a whole number from -127 to 127 for each, and a scale for each row.

A row is what a layer makes one of its outputs of (of the upsamplings, what it makes of one input). Layers
of one side, biases above all, are small and stay as they are. The numbers are for the disk alone: a voice
that was read computes as any other.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ultimate_rvc.errors import VoiceFileError

LARGEST = 127
SCALE_SUFFIX = ".scale"
# A scale has 16 digits of a float32's 24, so that 127 times it is exact: the same numbers and scales come
# out when weights that were read are written again.
SCALE_STEPS = 2.0**16
SMALLEST_SCALE = 2.0**-100  # of rows of zeros


def to_eight_bits(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with int8 numbers and ``<name>.scale`` (rows,) for each weight of two sides or more."""
    narrow: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if tensor.dim() < 2:
            narrow[key] = tensor
            continue
        rows = tensor.float().flatten(1)
        scales = _scales(rows)
        numbers = (rows / scales[:, None]).round().clamp(-LARGEST, LARGEST)
        narrow[key] = numbers.to(torch.int8).reshape(tensor.shape)
        narrow[key + SCALE_SUFFIX] = scales
    return narrow


def from_eight_bits(narrow: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, float32, that :func:`to_eight_bits` made ``narrow`` of.

    Raises
    ------
    VoiceFileError
        Numbers lack their scales, or the scales do not fit; the sentence goes on from the file's name.
    """
    state: dict[str, Tensor] = {}
    whole = {key for key, tensor in narrow.items() if tensor.dtype is torch.int8}
    for key, tensor in narrow.items():
        if key in whole:
            state[key] = tensor.float() * _checked_scales(key, tensor, narrow.get(key + SCALE_SUFFIX))
        elif key.removesuffix(SCALE_SUFFIX) not in whole:
            state[key] = tensor
    return state


def _scales(rows: Tensor) -> Tensor:
    """What a step of 1 stands for in each row, rounded up so that no weight is beyond the last step."""
    mantissa, exponent = torch.frexp(rows.abs().amax(dim=1) / LARGEST)
    rounded = torch.ldexp((mantissa * SCALE_STEPS).ceil() / SCALE_STEPS, exponent)
    return rounded.clamp_min(SMALLEST_SCALE)


def _checked_scales(key: str, numbers: Tensor, scales: Tensor | None) -> Tensor:
    """The scales of a weight in the shape that multiplies it."""
    fitting = scales is not None and scales.dtype is torch.float32 and scales.shape == numbers.shape[:1]
    if scales is None or not fitting or not bool((scales.isfinite() & (scales > 0)).all()):
        what = "lacks the scales" if scales is None else "holds other scales than those"
        raise VoiceFileError(f"is damaged: it {what} of the 8-bit weight {key[:60]!r}; export it again.")
    return scales.reshape(-1, *[1] * (numbers.dim() - 1))
