"""Weight normalisation, taken out of a state dict once at load."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ultimate_rvc.errors import VoiceFileError

# (suffix of the magnitude, suffix of the direction): torch's older hook and its newer parametrization.
DIALECTS = PAIR, PARAMETRIZED = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)

# torch.nn.parallel puts "module." before every name, torch.compile "_orig_mod." before what it compiled.
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+|(?<=\.)(?:_orig_mod\.)+")


def usual_name(key: str) -> str:
    """The name of a weight in RVC's own files: without wrappers, and with ``weight_g``/``weight_v``."""
    return renamed(_WRAPPERS.sub("", key), PARAMETRIZED, PAIR)


def renamed(key: str, old: tuple[str, str], new: tuple[str, str]) -> str:
    """``key`` with a suffix of the dialect ``old`` in the dialect ``new``."""
    for old_suffix, new_suffix in zip(old, new, strict=True):
        if key.endswith("." + old_suffix):
            return key.removesuffix(old_suffix) + new_suffix
    return key


def magnitudes(weight: Tensor) -> Tensor:
    """``weight_g`` of a weight: the norm over all sides but the first, (outputs, 1, ...)."""
    norm: Tensor = weight.float().flatten(1).norm(dim=1)
    return norm.reshape(-1, *[1] * (weight.dim() - 1))


def folded_shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of what :func:`fold_weight_norm` would return, found without computing anything.

    Raises
    ------
    VoiceFileError
        When one half of a pair is missing, does not fit the other, or stands beside its product.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for key, tensor in state.items():
        pair, shape = _pair_of(key), tuple(tensor.shape)
        name = key if pair is None else pair[2]
        if pair is None or key == pair[1]:
            if name in shapes:
                raise VoiceFileError(f"The voice holds {name} twice; the file is damaged.")
            shapes[name] = shape
        if pair is None:
            continue
        magnitude_key, direction_key, _ = pair
        if magnitude_key not in state or direction_key not in state:
            missing = direction_key if direction_key not in state else magnitude_key
            raise VoiceFileError(f"The voice lacks {missing}, which belongs to {key}; the file is damaged.")
        fitting = (*state[direction_key].shape[:1], *[1] * (state[direction_key].dim() - 1))
        if key == magnitude_key and (shape != fitting or len(shape) < 2):
            raise VoiceFileError(
                f"The voice's {key} has shape {shape}, which does not fit {direction_key} "
                f"{tuple(state[direction_key].shape)}; the file is damaged."
            )
    return shapes


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace every weight-normed pair, in either dialect, by the plain weight it stands for.

    RVC stores weight-normed layers as a magnitude ``g`` and a direction ``v``; a voice only ever
    needs ``g * v / |v|``, so it is computed once here instead of at every call. The norm runs
    over all dimensions but the first, for convolutions and transposed convolutions alike. The weight is
    float32, as the product of half-precision values would lose digits; other tensors are passed on untouched.

    Raises
    ------
    VoiceFileError
        As :func:`folded_shapes`.
    """
    folded_shapes(state)
    folded: dict[str, Tensor] = {}
    for key, tensor in state.items():
        pair = _pair_of(key)
        if pair is None:
            folded[key] = tensor
        elif key == pair[1]:
            folded[pair[2]] = _plain_weight(state[pair[0]], tensor)
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
