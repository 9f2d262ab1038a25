"""What a training makes small: least-squares GAN losses, feature matching, and the latent's divergence.

All sums are over discriminators, all means over the values inside one; computed in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FEATURE_WEIGHT = 2.0  # part of the loss itself, as RVC has it


def discriminator_loss(real_scores: Sequence[Tensor], fake_scores: Sequence[Tensor]) -> Tensor:
    """Squared distance of ``(batch, scores)`` from 1 for recordings, 0 for renders (Mao et al., 2017)."""
    losses = [
        (1 - real.float()).square().mean() + fake.float().square().mean()
        for real, fake in zip(real_scores, fake_scores, strict=True)
    ]
    return torch.stack(losses).sum()


def generator_loss(fake_scores: Sequence[Tensor]) -> Tensor:
    """Distance of the renders' scores ``(batch, scores)`` from 1, squared."""
    return torch.stack([(1 - fake.float()).square().mean() for fake in fake_scores]).sum()


def feature_loss(real_maps: Sequence[Sequence[Tensor]], fake_maps: Sequence[Sequence[Tensor]]) -> Tensor:
    """Twice the mean distance of the discriminators' layers ``(batch, channels, ...)`` between recording and render.

    The recording's layers are taken as given: no gradient goes through them.
    """
    losses = [
        (real.detach().float() - fake.float()).abs().mean()
        for real_layers, fake_layers in zip(real_maps, fake_maps, strict=True)
        for real, fake in zip(real_layers, fake_layers, strict=True)
    ]
    return FEATURE_WEIGHT * torch.stack(losses).sum()


def kl_loss(
    z_p: Tensor, log_deviation_q: Tensor, mean_p: Tensor, log_deviation_p: Tensor, mask: Tensor
) -> Tensor:
    """Divergence of the posterior (q) from the prior (p), estimated at one sample, per frame.

    ``z_p`` is the posterior's sample, carried to the prior's side; it and the others are (batch, channels,
    frames), and ``mask`` (batch, 1, frames) is 1 on the frames that count. Returns (), the mean over them of
    the sum over channels.
    """
    z_p, log_deviation_q, mean_p, log_deviation_p, mask = (
        tensor.float() for tensor in (z_p, log_deviation_q, mean_p, log_deviation_p, mask)
    )
    distance = 0.5 * (z_p - mean_p).square() * torch.exp(-2 * log_deviation_p)
    divergence = log_deviation_p - log_deviation_q - 0.5 + distance
    return (divergence * mask).sum() / mask.sum()
