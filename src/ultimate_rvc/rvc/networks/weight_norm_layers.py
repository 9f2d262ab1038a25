"""Which layers RVC tools build with weight norm, and their pairs made from plain weights.

The inverse of ``networks.weight_norm.fold_weight_norm``, needed only for writing files that other
tools load strictly. Facts: the layer names are those of RVC's published state dicts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.networks.weight_norm import magnitudes

# enc_q is in training checkpoints only.
_WAVENETS = r"(enc_q|flow\.flows\.\d+)\.enc\.(in_layers\.\d+|res_skip_layers\.\d+|cond_layer)"
_NORMED = {
    Vocoder.HIFI_GAN: r"dec\.(ups\.\d+|resblocks\.\d+\.convs[12]\.\d+)",
    Vocoder.MRF_HIFI_GAN: r"dec\.(conv_pre|conv_post|upsamples\.\d+|mrfs\.\d+\.\d+\.layers\.\d+\.conv[12])",
    Vocoder.REFINE_GAN: (
        r"dec\.(pre_conv|mel_conv|conv_post|downsample_blocks\.\d+"
        r"|upsample_conv_blocks\.\d+\.blocks\.\d+\.1\.convs[12]\.\d+)"
    ),
}


def is_weight_normed(layer: str, vocoder: Vocoder) -> bool:
    """Whether RVC tools build the synthesizer's layer of this name with weight norm."""
    return re.fullmatch(rf"{_WAVENETS}|{_NORMED[vocoder]}", layer) is not None


def unfold_weight_norm(state: Mapping[str, Tensor], vocoder: Vocoder) -> dict[str, Tensor]:
    """``state`` with ``weight_g`` (the norm over all sides but the first) and ``weight_v`` for every layer
    that RVC tools build with weight norm; layers that have their pair already are passed on.
    """
    unfolded: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if not (key.endswith(".weight") and is_weight_normed(key.removesuffix(".weight"), vocoder)):
            unfolded[key] = tensor
            continue
        unfolded[f"{key}_g"] = magnitudes(tensor)
        unfolded[f"{key}_v"] = tensor
    return unfolded
