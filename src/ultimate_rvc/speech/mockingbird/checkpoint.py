"""A checkpoint of MockingBird: read without executing anything, and fitted strictly to its network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ultimate_rvc.errors import SpeechError, VoiceFileError
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm
from ultimate_rvc.rvc.voice_file.torch_file import read_torch_file

Network = TypeVar("Network", bound=nn.Module)
State = Mapping[str, Tensor]

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".safetensors")
WEIGHT_PLACES = ("model_state", "model", "generator")  # where the programs that train put the weights


class Kind(StrEnum):
    """What a checkpoint is."""

    SYNTHESIZER = "synthesizer"
    HIFI_GAN = "HiFi-GAN"
    WAVE_RNN = "WaveRNN"
    ENCODER = "speaker encoder"
    UNKNOWN = "unknown"


# A weight that only this network has, under its plain or its normed name.
_SIGNS = {
    "decoder.mel_proj.weight": Kind.SYNTHESIZER,
    "conv_post.bias": Kind.HIFI_GAN,
    "upsample.resnet.conv_in.weight": Kind.WAVE_RNN,
    "lstm.weight_hh_l2": Kind.ENCODER,
}


def read_state(path: Path) -> tuple[Kind, dict[str, Tensor]]:
    """What a checkpoint is, and its weights under their names, without weight norm.

    Tensors may be views of the file's map.

    Raises
    ------
    SpeechError
        The file is missing, damaged, holds no weights or asks to run something: one sentence that names it.
    """
    content = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    for place in WEIGHT_PLACES:
        if isinstance(inner := content.get(place), Mapping):
            content = inner
            break
    state = {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    kind = next((kind for sign, kind in _SIGNS.items() if sign in state), Kind.UNKNOWN)
    if kind is not Kind.HIFI_GAN:
        return kind, state
    try:
        return kind, fold_weight_norm(state)
    except VoiceFileError as error:
        raise SpeechError(f"The MockingBird checkpoint {path} is damaged: {error}") from error


def _read_torch(path: Path) -> Mapping[Any, Any]:
    try:
        content = read_torch_file(path)
    except VoiceFileError as error:
        raise SpeechError(f"The MockingBird checkpoint {error}") from error
    return content if isinstance(content, Mapping) else {}


def _read_safetensors(path: Path) -> Mapping[Any, Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise SpeechError(
            f"The MockingBird checkpoint {path} is cut off, damaged or no safetensors file: make it again."
        ) from error


def fitted(build: Callable[[], Network], state: State, *, extra: tuple[str, ...] = ()) -> Network:
    """The network that ``build`` makes with the weights of ``state``: all of them, each in its shape.

    ``extra`` are beginnings of names that the checkpoint may hold beyond the network's. Nothing is shared with the
    file; the network is in float32, evaluates and needs no gradients.

    Raises
    ------
    SpeechError
        A weight is missing, unknown, of another shape or no number; the text follows a file's name.
    """
    with torch.device("meta"), _Uninitialised():
        network = build()
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    given = {name: tensor for name, tensor in state.items() if name in wanted or not name.startswith(extra)}
    check_fit(wanted, {name: tuple(tensor.shape) for name, tensor in given.items()})
    copied = {name: _copied(name, tensor) for name, tensor in given.items()}
    network.load_state_dict(copied, assign=True)
    return network.eval().requires_grad_(False)


class _Uninitialised(TorchFunctionMode):
    """Layers that are built draw no weights: to draw none of meta tensors, torch imports 900 modules first."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        keywords = kwargs or {}
        if getattr(function, "__module__", None) == nn.init.__name__:
            return keywords["tensor"] if "tensor" in keywords else args[0]
        return function(*args, **keywords)


def check_fit(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> None:
    """Raise :class:`SpeechError` for the first name or shape that differs; the text follows a file's name."""
    if missing := sorted(set(wanted) - set(given)):
        raise SpeechError(f"it lacks {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""))
    if unknown := sorted(set(given) - set(wanted)):
        raise SpeechError(f"it holds {unknown[0][:80]!r}, which its network has not")
    for name, shape in wanted.items():
        if given[name] != shape:
            raise SpeechError(f"its {name} has the shape {given[name]} where {shape} is expected")


def _copied(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.clone()
    copied = tensor.to(torch.float32, copy=True)
    if copied.numel() and not all(math.isfinite(extreme) for extreme in torch.aminmax(copied)):
        raise SpeechError(f"its {name} holds values that are no numbers")
    return copied
