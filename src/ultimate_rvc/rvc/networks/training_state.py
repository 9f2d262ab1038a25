"""Weights of networks in training: weight norm put on, and states of other tools taken in.

torch names a normed layer's magnitude and direction ``parametrizations.weight.original0`` and
``original1``; RVC's published files and voice files say ``weight_g`` and ``weight_v``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.weight_norm import PAIR, PARAMETRIZED, magnitudes, renamed, usual_name

SHOWN_PROBLEMS = 3


def norm_weights(network: nn.Module, is_normed: Callable[[str], bool]) -> None:
    """Put weight norm on every layer of ``network`` whose name satisfies ``is_normed``."""
    for name, layer in list(network.named_modules()):
        if isinstance(getattr(layer, "weight", None), nn.Parameter) and is_normed(name):
            weight_norm(layer)


def paired_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` under the names of published files."""
    return {renamed(key, PARAMETRIZED, PAIR): tensor for key, tensor in state.items()}


def load_training_state(
    network: nn.Module, state: Mapping[str, Tensor], *, optional: str = "", by_rows: str = ""
) -> list[str]:
    """Copy ``state`` into ``network``, whichever way it writes weight norm; return what stays as it was.

    ``network`` has weight norm as torch parametrizations; names in ``state`` may carry the prefixes of torch's
    wrappers. Names that start with ``optional`` may be absent, all together. The table ``by_rows`` may have
    another number of rows; those both have are copied.

    Raises
    ------
    VoiceFileError
        When a layer is missing, unknown, of another shape or holds values that are no numbers; the network
        is then untouched.
    """
    own = network.state_dict()
    given = _parametrized(state, own)
    fresh = []
    if optional and not any(key.startswith(optional) for key in given):
        fresh.append(optional.rstrip("."))
        given |= {key: tensor for key, tensor in own.items() if key.startswith(optional)}
    if by_rows in given and given[by_rows].shape[1:] == own[by_rows].shape[1:]:
        copied = min(len(given[by_rows]), len(own[by_rows]))
        if copied < len(own[by_rows]):
            fresh.append(f"{by_rows} from row {copied} on")
        given[by_rows] = torch.cat((given[by_rows][:copied].to(own[by_rows]), own[by_rows][copied:]))
    _check(given, own)
    network.load_state_dict(given)
    return fresh


def _parametrized(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` under torch's names; plain weights of normed layers become their pairs."""
    given: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = renamed(usual_name(key), PAIR, PARAMETRIZED)
        magnitude, direction = (name.removesuffix("weight") + suffix for suffix in PARAMETRIZED)
        if name not in own and name.endswith(".weight") and direction in own and tensor.dim() > 1:
            given[magnitude] = magnitudes(tensor)
            given[direction] = tensor
        else:
            given[name] = tensor
    return given


def _check(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    problems = [f"{key} is missing" for key in own if key not in given]
    problems += [f"{key} is unknown" for key in given if key not in own]
    for key, tensor in given.items():
        if key in own and tensor.shape != own[key].shape:
            problems.append(f"{key} has shape {tuple(tensor.shape)} instead of {tuple(own[key].shape)}")
        elif not bool(torch.isfinite(tensor).all()):
            problems.append(f"{key} holds values that are no numbers")
    if problems:
        shown = "; ".join(renamed(problem, PARAMETRIZED, PAIR) for problem in problems[:SHOWN_PROBLEMS])
        more = f"; and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
        raise VoiceFileError(
            f"The weights to start from do not fit the network to be trained: {shown}{more}; choose a file "
            "of the same version, sample rate, vocoder, sizes and content encoder."
        )
