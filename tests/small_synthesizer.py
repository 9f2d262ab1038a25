"""Small synthesizers whose every layer is audible, for tests of behaviour."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer

PHONE_DIM = 12


def small_config(rates: tuple[int, ...] = (10, 8, 2, 2), initial_channels: int = 32) -> SynthesizerConfig:
    return SynthesizerConfig(
        spec_channels=513,
        segment_size=32,
        inter_channels=6,
        hidden_channels=8,
        filter_channels=16,
        heads=2,
        layers=2,
        kernel_size=3,
        dropout=0.0,
        resblock_kernel_sizes=(3, 7, 11),
        resblock_dilations=((1, 3, 5),) * 3,
        upsample_rates=rates,
        upsample_initial_channel=initial_channels,
        upsample_kernel_sizes=tuple(2 * rate for rate in rates),
        speakers=3,
        speaker_channels=5,
        sample_rate=100 * torch.tensor(rates).prod().item(),
        phone_dim=PHONE_DIM,
    )


def few_layers(rates: tuple[int, ...] = (10, 8, 2, 2)) -> SynthesizerConfig:
    """One residual block a stage and half the channels, for tests of what goes on around the network.

    The time of small networks goes by the number of their layers.
    """
    usual = small_config(rates, initial_channels=16)
    return replace(usual, resblock_kernel_sizes=(3,), resblock_dilations=((1, 3),))


def small_synthesizer(
    vocoder: Vocoder = Vocoder.HIFI_GAN, *, has_f0: bool = True, config: SynthesizerConfig | None = None
) -> Synthesizer:
    """Return a synthesizer with random weights of about unit gain per layer, the same at every call."""
    synthesizer = Synthesizer(config or small_config(), has_f0=has_f0, vocoder=vocoder).eval()
    random = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in sorted(synthesizer.named_parameters()):
            parameter.copy_(_weights(name, torch.randn(parameter.shape, generator=random)))
    return synthesizer.requires_grad_(False)


def _weights(name: str, random: Tensor) -> Tensor:
    if "m_source" in name:
        return random + 3.0  # the sine has an amplitude of 0.1
    if random.dim() == 3 and "emb_rel" not in name:
        # Residual branches add up: half the gain keeps what goes around them audible.
        gain = 0.5 if "convs" in name or ".layers." in name else 1.0
        return random * gain * (2.0 / random[0].numel()) ** 0.5
    return 0.1 * random + name.endswith("gamma") if "emb" not in name else random


def random_inputs(
    batch: int, frames: int, *, has_f0: bool = True
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """Return features, pitch, f0_hz and speaker ids, the same at every call."""
    random = torch.Generator().manual_seed(5)
    features = torch.randn(batch, frames, PHONE_DIM, generator=random)
    f0_hz = 100 + 400 * torch.rand(batch, frames, generator=random)
    f0_hz[:, frames // 3 : frames // 2] = 0
    pitch = torch.randint(1, 256, (batch, frames), generator=random)
    speaker_id = torch.arange(batch) % 3
    return features, pitch if has_f0 else None, f0_hz if has_f0 else None, speaker_id
