"""Pruning: weights that become zero (a smaller file), and channels that go (a faster vocoder).

Han et al., "Learning both Weights and Connections" (2015) for single weights, by magnitude; Li et al., "Pruning
Filters for Efficient ConvNets" (2017) for channels. Neither trains again afterwards, so both cost quality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.rvc.networks.hifigan import SLOPE, ResidualBlock
from ultimate_rvc.speech.mockingbird.hifigan import PlainHiFiGAN, inner_channels

LEAST_WEIGHTS = 1 << 14  # a smaller layer has nothing to give
SPARSE_BELOW = 0.7  # of values that are not zero: a bit for each place is worth it
MASK, SHAPE = "#mask", "#shape"


@torch.no_grad()
def prune_weights(network: nn.Module, share: float) -> None:
    """Set the smallest ``share`` of the weights of each large matrix to zero, in place."""
    for parameter in network.parameters():
        if parameter.dim() < 2 or parameter.numel() < LEAST_WEIGHTS or share == 0:
            continue
        sizes = parameter.abs().flatten()
        limit = sizes.kthvalue(max(1, round(share * len(sizes))))[0]
        parameter.masked_fill_(parameter.abs() <= limit, 0.0)


@torch.no_grad()
def narrowed(vocoder: PlainHiFiGAN, share: float) -> PlainHiFiGAN:
    """A vocoder without the least ``share`` of the channels between the two convolutions of each residual pair.

    What a lost channel gave at rest goes into the bias, so that only its movement is lost.
    """
    sizes = replace(vocoder.sizes, inner=vocoder.sizes.inner * (1 - share))
    result = PlainHiFiGAN(sizes)
    state = dict(vocoder.state_dict())
    for index, block in enumerate(vocoder.resblocks):
        if not isinstance(block, ResidualBlock):
            continue
        for number, (dilated, plain) in enumerate(block.pairs):
            first, second = f"resblocks.{index}.convs1.{number}", f"resblocks.{index}.convs2.{number}"
            strength = dilated.weight.flatten(1).norm(dim=1) * plain.weight.transpose(0, 1).flatten(1).norm(
                dim=1
            )
            count = inner_channels(plain.out_channels, sizes.inner)
            kept = strength.topk(min(count, len(strength))).indices.sort().values
            lost = torch.ones(len(strength), dtype=torch.bool)
            lost[kept] = False
            assert dilated.bias is not None
            assert plain.bias is not None
            at_rest = F.leaky_relu(dilated.bias[lost], SLOPE)
            state[f"{first}.weight"], state[f"{first}.bias"] = dilated.weight[kept], dilated.bias[kept]
            state[f"{second}.weight"] = plain.weight[:, kept]
            state[f"{second}.bias"] = plain.bias + plain.weight[:, lost].sum(dim=2) @ at_rest
    result.load_state_dict(state)
    return result.eval().requires_grad_(False)


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state in which tensors with many zeros are kept as one bit a place and the other values."""
    kept: dict[str, Tensor] = {}
    for name, tensor in state.items():
        places = tensor != 0
        if tensor.numel() < LEAST_WEIGHTS or places.float().mean() > SPARSE_BELOW:
            kept[name] = tensor.contiguous()
            continue
        kept[name] = tensor[places].contiguous()
        kept[name + MASK] = torch.from_numpy(np.packbits(places.flatten().numpy()))
        kept[name + SHAPE] = torch.tensor(tensor.shape)
    return kept


def unpacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What :func:`packed` made, whole again; a ``ValueError`` or ``RuntimeError`` for what it did not make."""
    whole: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith((MASK, SHAPE)):
            continue
        if name + MASK not in state:
            whole[name] = tensor
            continue
        shape = tuple(state[name + SHAPE].tolist())
        bits = np.unpackbits(state[name + MASK].numpy(), count=int(np.prod(shape)))
        full = torch.zeros(shape, dtype=tensor.dtype)
        full[torch.from_numpy(bits).bool().reshape(shape)] = tensor
        whole[name] = full
    return whole
