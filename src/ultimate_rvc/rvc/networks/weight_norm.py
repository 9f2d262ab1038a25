"""Weight normalisation, taken out of a state dict once at load."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ultimate_rvc.errors import VoiceFileError

# (suffix of the magnitude, suffix of the direction): torch's older hook and its newer parametrization.
DIALECTS = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace every weight-normed pair by the plain weight it stands for.

    RVC stores weight-normed layers as a magnitude ``g`` and a direction ``v``; a voice only ever
    needs ``g * v / |v|``, so it is computed once here instead of at every call. The norm runs
    over all dimensions but the first, for convolutions and transposed convolutions alike.

    Parameters
    ----------
    state : mapping of str to Tensor
        State dict with ``weight_g``/``weight_v`` or
        ``parametrizations.weight.original0``/``original1`` names, or with neither.

    Returns
    -------
    dict of str to Tensor
        The same state with ``weight`` in place of each pair (float32, as the product of half-precision
        values would lose digits); every other tensor is passed on untouched.

    Raises
    ------
    VoiceFileError
        When one half of a pair is missing.
    """
    folded: dict[str, Tensor] = {}
    for key, tensor in state.items():
        pair = _pair_of(key)
        if pair is None:
            folded[key] = tensor
            continue
        magnitude_key, direction_key, weight_key = pair
        if magnitude_key not in state or direction_key not in state:
            missing = direction_key if direction_key not in state else magnitude_key
            raise VoiceFileError(f"The voice lacks {missing}, which belongs to {key}; the file is damaged.")
        if key == direction_key:
            folded[weight_key] = _plain_weight(state[magnitude_key], tensor)
    return folded


def _pair_of(key: str) -> tuple[str, str, str] | None:
    for magnitude, direction in DIALECTS:
        for suffix in (magnitude, direction):
            if key.endswith("." + suffix):
                layer = key.removesuffix(suffix)
                return layer + magnitude, layer + direction, layer + "weight"
    return None


def _plain_weight(magnitude: Tensor, direction: Tensor) -> Tensor:
    magnitude, direction = magnitude.float(), direction.float()
    others = tuple(range(1, direction.dim()))
    norm = torch.linalg.vector_norm(direction, dim=others, keepdim=True)
    # A direction that underflowed to zero in half precision is a silent channel, not a NaN.
    weight: Tensor = direction * (magnitude / norm.clamp_min(torch.finfo(torch.float32).tiny))
    return weight
