"""The network that a voice's weights must fit, layer by layer, before anything is computed with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm, folded_shapes
from ultimate_rvc.rvc.voice_file.describe import VoiceFile, VoiceMetadata

# torch's own layers call the first three, which older versions pass on as the last two.
_FILLING_FUNCTIONS = (
    torch.nn.init.normal_,
    torch.nn.init.uniform_,
    torch.nn.init.kaiming_uniform_,
    Tensor.normal_,
    Tensor.uniform_,
)


def fitting_network(metadata: VoiceMetadata, state: Mapping[str, Tensor]) -> Synthesizer:
    """The network of a voice with nothing in it yet, whose every layer fits ``state``.

    Raises
    ------
    VoiceFileError
        A layer is missing, unknown or of another shape than the voice's config says.
    """
    shapes = folded_shapes(state)
    with _UnfilledLayers(sum(map(math.prod, shapes.values()))):
        network = Synthesizer(metadata.config, has_f0=metadata.has_f0, vocoder=metadata.vocoder)
    network.check_shapes(shapes)
    return network


def fill(network: Synthesizer, state: Mapping[str, Tensor]) -> Synthesizer:
    """``network``, which :func:`fitting_network` made for ``state``, ready for use on the CPU."""
    # Copied, because a tensor that is still a view of the file's map would fail with the file.
    copied = {key: tensor.to(torch.float32, copy=True) for key, tensor in state.items()}
    folded = fold_weight_norm(copied)
    check_finite(folded)
    network.load_state_dict(folded, assign=True)
    return network.eval().requires_grad_(False)


def check_finite(state: Mapping[str, Tensor]) -> None:
    """Raise :class:`VoiceFileError` if a weight is infinite or not a number."""
    for key, tensor in state.items():
        if not _is_finite(tensor):
            raise VoiceFileError(
                f"The voice's {key} holds values that are no numbers; its training failed or it is damaged."
            )


def build_synthesizer(voice: VoiceFile) -> Synthesizer:
    """The network of a voice on the CPU, sharing no memory with the file; raises as the two above."""
    return fill(fitting_network(voice.metadata, voice.state), voice.state)


class _UnfilledLayers(TorchFunctionMode):
    """While it is entered, new layers get no random weights, and in all no more than a voice has.

    The random weights would be replaced at once, and a hostile config may ask for any amount of memory.
    """

    def __init__(self, weight_count: int) -> None:
        super().__init__()
        self._left = 2 * weight_count  # twice: what little is too much is for ``check_shapes`` to name

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        named = kwargs or {}
        if func in _FILLING_FUNCTIONS:
            return args[0] if args else named["tensor"]
        if func in (torch.empty, torch.randn):
            self._spend(args)
            return torch.empty(*args, **named)  # type: ignore[call-overload]
        return func(*args, **named)

    def _spend(self, arguments: tuple[object, ...]) -> None:
        shape = arguments[0] if arguments and isinstance(arguments[0], tuple | list) else arguments
        self._left -= math.prod(side for side in shape if isinstance(side, int))
        if self._left < 0:
            raise VoiceFileError(
                "The voice's config asks for far more weights than the file holds; it is damaged."
            )


def _is_finite(tensor: Tensor) -> bool:
    # Several times quicker than `isfinite().all()`; a NaN is passed on by both extremes.
    return tensor.numel() == 0 or all(math.isfinite(extreme) for extreme in torch.aminmax(tensor))
