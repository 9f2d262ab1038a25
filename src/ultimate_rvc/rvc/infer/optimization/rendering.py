"""The vocoder over what is wanted of a window: in tiles of bounded size, gaps and context left out.

A vocoder of convolutions looks only so far to either side. Rendering a run of frames that much wider,
and keeping its middle, gives what a render of the whole gives there, up to rounding. So frames nobody
hears need not be rendered, and on a CPU, where a layer of a whole window is fetched from the operating
system page by page, tiles are faster and their memory does not grow with the window.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ultimate_rvc.rvc.networks.hifigan import PLAIN_LAYERS, VocoderLayers
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork
from ultimate_rvc.switches import OptimizationConfig

log = logging.getLogger(__name__)

# The widest tensor of a stock voice has 128 channels at 100 samples per frame: 26 MB in such a tile. Smaller
# ones hardly save memory, and each computes a dozen frames on either side for nothing.
TILE_FRAMES = 512

Spans = Sequence[tuple[int, int]]
"""Runs of frames ``[start, end)`` of a window, in order and apart."""


@dataclass(frozen=True)
class _Run:
    """Frames ``[start, end)`` of one item of a batch, rendered from ``[low, high)``."""

    item: int
    start: int
    end: int
    low: int
    high: int

    @property
    def width(self) -> int:
        return self.high - self.low


class VocoderRenderer:
    """How vocoders are run here; all ways give the same sound.

    A tile gives at most ``tile_frames``, None for no limit; ``layers`` say how the layers are computed.
    """

    def __init__(self, tile_frames: int | None = None, layers: VocoderLayers = PLAIN_LAYERS) -> None:
        self._tile_frames = tile_frames
        self._layers = layers

    @classmethod
    def for_cpu(cls, *, rounded: bool = False) -> VocoderRenderer:
        """Tiles, and layers as matrix products, whose factors may be rounded to bfloat16."""
        # Imported here, so that without the switch no compiled code is ever loaded.
        from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.fast_layers import FastLayers

        return cls(TILE_FRAMES, FastLayers(rounded=rounded))

    def __call__(
        self,
        vocoder: VocoderNetwork,
        latent: Tensor,
        source: Tensor | None,
        speaker: Tensor,
        noise: Noise,
        valid: Valid = None,
        wanted: Sequence[Spans] | None = None,
    ) -> Tensor:
        """Render latent ``(batch, inter_channels, frames)`` to a waveform ``(batch, 1, samples)``.

        ``source`` ``(batch, 1, samples)`` is the excitation of all frames, drawn once, so its randomness does
        not depend on the tiles; ``speaker`` is ``(batch, speaker_channels, 1)``. ``valid`` are the frames of
        each item of a padded batch, ``wanted`` those that anyone will hear, None for all: the rest is zeros.
        RefineGAN draws random numbers of the shape of its tensors in every layer, so unless they are switched
        off it renders everything in one go.
        """
        if vocoder.draws_noise and noise.scale != 0:
            return vocoder(latent, source, speaker, noise, valid, self._layers)
        runs = self._runs(vocoder, latent, valid, wanted)
        hop = vocoder.hop_length
        waveform = latent.new_zeros(len(latent), 1, latent.shape[-1] * hop)
        for group in _groups(runs, len(latent)):
            width = max(run.width for run in group)
            rendered = vocoder(
                _cut_out(latent, group, width, 1),
                None if source is None else _cut_out(source, group, width, hop),
                # By slices: a list of indices would have to be sent to the device.
                torch.cat([speaker[run.item : run.item + 1] for run in group]),
                noise,
                None if all(run.width == width for run in group) else tuple(run.width for run in group),
                self._layers,
            )
            for row, run in zip(rendered, group, strict=True):
                middle = row[:, (run.start - run.low) * hop : (run.end - run.low) * hop]
                waveform[run.item, :, run.start * hop : run.end * hop] = middle
        return waveform

    def _runs(
        self, vocoder: VocoderNetwork, latent: Tensor, valid: Valid, wanted: Sequence[Spans] | None
    ) -> list[_Run]:
        batch, _, frames = latent.shape
        ends = valid or (frames,) * batch
        spans = wanted or [[(0, end)] for end in ends]
        reach = vocoder.context_frames
        return [
            _Run(item, start, end, max(start - reach, 0), min(end + reach, ends[item]))
            for item in range(batch)
            for span_start, span_end in spans[item]
            for start, end in _tiles(span_start, min(span_end, ends[item]), self._tile_frames)
        ]


def renderer_for(config: OptimizationConfig, device: torch.device, dtype: torch.dtype) -> VocoderRenderer:
    """The renderer that a configuration asks for, where half-precision stages compute in ``dtype``."""
    if not config.fast_vocoder:
        return VocoderRenderer()
    if device.type != "cpu":
        log.warning("The fast vocoder is for CPUs; on %s it changes nothing.", device)
        return VocoderRenderer()
    if dtype is torch.float32 or rounds_products(config, device, dtype):
        return VocoderRenderer.for_cpu(rounded=dtype is torch.bfloat16)
    return VocoderRenderer(TILE_FRAMES)  # the network's own layers, only in tiles


def rounds_products(config: OptimizationConfig, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the fast vocoder itself computes in bfloat16: then the network's weights stay float32."""
    if not config.fast_vocoder or config.compiles or device.type != "cpu" or dtype is not torch.bfloat16:
        return False
    from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_code import has_bfloat16

    return has_bfloat16()


def _tiles(start: int, end: int, most: int | None) -> list[tuple[int, int]]:
    """``[start, end)`` in tiles of at most ``most`` frames and of one size, not many and a rest."""
    if end <= start:
        return []
    count = 1 if most is None else -(-(end - start) // most)
    borders = [start + (end - start) * tile // count for tile in range(count + 1)]
    return list(pairwise(borders))


def _groups(runs: list[_Run], size: int) -> list[list[_Run]]:
    """The runs in groups of ``size``: those of like width together, as items of one window batch are."""
    ordered = runs if len(runs) <= size else sorted(runs, key=lambda run: run.width)
    return [ordered[first : first + size] for first in range(0, len(ordered), size)]


def _cut_out(signal: Tensor, group: list[_Run], width: int, hop: int) -> Tensor:
    """What a group takes of ``signal`` ``(batch, channels, frames * hop)``, padded to one width."""
    if len(group) == 1:
        (run,) = group
        return signal[run.item : run.item + 1, :, run.low * hop : run.high * hop]
    cut = signal.new_zeros(len(group), signal.shape[1], width * hop)
    for row, run in zip(cut, group, strict=True):
        row[:, : run.width * hop] = signal[run.item, :, run.low * hop : run.high * hop]
    return cut
