"""HuBERT's convolutions over one tile of time after the other, for CPUs.

Between samples and frames there are 512 channels at a fifth of the sample rate: 200 MB for half a minute,
several times over, fetched from the operating system page by page. Tiles stay in the cache, and memory no
longer grows with the length. The convolutions pad nothing, so a tile gives what the whole gives there. Only
the norm of the first layer ("group") looks across time: its mean and variance are found first, in a pass of
their own over the cheapest of the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ultimate_rvc.rvc.content.frames import FRAME_SAMPLES, RECEPTIVE_SAMPLES, frame_count

TILE_FRAMES = 64  # the first layer of a tile is 8 MB; 80 of its 20,480 samples are read twice


def run_in_tiles(network: nn.Module) -> None:
    """Let a ``HubertModel`` run its convolutions in tiles from now on; other networks stay as they are."""
    extractor = getattr(network, "feature_extractor", None)
    if isinstance(getattr(extractor, "conv_layers", None), nn.ModuleList):
        network.feature_extractor = TiledFeatureExtractor(extractor)


class TiledFeatureExtractor(nn.Module):
    """Takes the place of a ``HubertModel``'s ``feature_extractor``."""

    def __init__(self, whole: Any, *, tile_frames: int = TILE_FRAMES) -> None:
        super().__init__()
        self.conv_layers: nn.ModuleList = whole.conv_layers
        self._tile_frames = tile_frames

    def forward(self, waveform_16k: Tensor) -> Tensor:
        """Return ``(batch, channels, frames)`` of ``(batch, samples)``."""
        first: Any = self.conv_layers[0]
        norm = getattr(first, "layer_norm", None)
        # A norm over channels ("layer") knows no time.
        across_time = norm if isinstance(norm, nn.GroupNorm) else None
        statistics = None if across_time is None else _statistics(first.conv, waveform_16k)
        rendered = []
        for samples in self._tiles(waveform_16k):
            hidden = waveform_16k[:, None, samples]
            if statistics is None or across_time is None:
                hidden = first(hidden)
            else:
                hidden = first.activation(_normalised(first.conv(hidden), *statistics, across_time))
            for layer in list(self.conv_layers)[1:]:
                hidden = layer(hidden)
            rendered.append(hidden)
        return torch.cat(rendered, dim=2)

    def _tiles(self, waveform_16k: Tensor) -> Iterator[slice]:
        frames = frame_count(waveform_16k.shape[-1])
        for start in range(0, frames, self._tile_frames):
            end = min(start + self._tile_frames, frames)
            yield slice(start * FRAME_SAMPLES, (end - 1) * FRAME_SAMPLES + RECEPTIVE_SAMPLES)


def _statistics(convolution: nn.Conv1d, waveform_16k: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over time, ``(batch, channels, 1)``, of what ``convolution`` makes of the whole.

    Those of the tiles are put together as by Chan et al., "Updating formulae and a pairwise algorithm for
    computing sample variances" (1979), in float64: a sum of squares would lose the digits of the variance.
    """
    kernel_size, stride = convolution.kernel_size[0], convolution.stride[0]
    positions = (waveform_16k.shape[-1] - kernel_size) // stride + 1
    count, mean, deviations = 0, torch.zeros(()), torch.zeros(())
    step = TILE_FRAMES * FRAME_SAMPLES // stride
    for start in range(0, positions, step):
        end = min(start + step, positions)
        values = convolution(waveform_16k[:, None, start * stride : (end - 1) * stride + kernel_size])
        variance, tile_mean = torch.var_mean(values, dim=2, correction=0, keepdim=True)
        tile_count = end - start
        difference = tile_mean.double() - mean
        total = count + tile_count
        deviations = (
            deviations + variance.double() * tile_count + difference.square() * (count * tile_count / total)
        )
        mean = mean + difference * (tile_count / total)
        count = total
    return mean.to(waveform_16k), (deviations / count).to(waveform_16k)


def _normalised(values: Tensor, mean: Tensor, variance: Tensor, norm: nn.GroupNorm) -> Tensor:
    """What ``norm`` makes of a tile when ``mean`` and ``variance`` are those of the whole."""
    gain = norm.weight[:, None] * torch.rsqrt(variance + norm.eps)
    return torch.addcmul(norm.bias[:, None] - mean * gain, values, gain)
