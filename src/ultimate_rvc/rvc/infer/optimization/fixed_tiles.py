"""A vocoder over a window of any length, in overlapping tiles that all have one of a few lengths.

Compiled code, engines and models are made for lengths, and making them takes up to minutes. A vocoder looks only
``context_frames`` to either side, so a tile that reaches so much further, or to the very end of the window, gives
what a render of the whole gives there. Nothing is padded, and nothing has to be masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ultimate_rvc.rvc.infer.optimization.rendering import Spans, VocoderRenderer
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork

SHORT_TILE = 200  # frames: audio of 1.4 s, what is shorter is rendered by torch
LONG_TILES = {"cpu": 512, "cuda": 1024, "mps": 1024}  # a CPU's cache wants small ones, a GPU large ones
SILENT = Noise(0.0)


class RenderTile(Protocol):
    """A vocoder without random numbers of its own over one tile."""

    def __call__(
        self, vocoder: VocoderNetwork, latent: Tensor, source: Tensor | None, speaker: Tensor
    ) -> Tensor:
        """Return the waveform (1, 1, samples) of latent (1, inter_channels, frames)."""


def tile_lengths_for(device: torch.device) -> tuple[int, int]:
    """Frames of the tiles on a device."""
    return SHORT_TILE, LONG_TILES[device.type]


@dataclass(frozen=True)
class Tile:
    """Frames ``[low, low + length)`` of an item are rendered, ``[start, end)`` of them kept."""

    item: int
    low: int
    length: int
    start: int
    end: int


def plan_tiles(
    span: tuple[int, int], frames: int, context_frames: int, lengths: Sequence[int], *, item: int = 0
) -> Iterator[Tile]:
    """Cover a run of frames, ``span`` ``[start, end)``, with overlapping tiles of given lengths.

    ``frames`` are those of the item the run is part of, no less than any of the ``lengths``: frames of a tile,
    each more than twice the context, ascending. A tile reaches ``context_frames`` further than what is kept of
    it, unless the item ends there.
    """
    start, end = span
    while start < end:
        low = max(start - context_frames, 0)
        needed = min(end + context_frames, frames) - low
        last = next((length for length in lengths if length >= needed), None)
        if last is not None:
            yield Tile(item, min(low, frames - last), last, start, end)
            return
        reached = low + lengths[-1] - context_frames
        yield Tile(item, low, lengths[-1], start, reached)
        start = reached


def render_plainly(vocoder: VocoderNetwork, latent: Tensor, source: Tensor | None, speaker: Tensor) -> Tensor:
    """Run the vocoder itself: returns (1, 1, samples)."""
    return vocoder(latent, source, speaker, SILENT)


class TiledRenderer:
    """Runs vocoders tile by tile; called as a :class:`VocoderRenderer` is.

    Parameters
    ----------
    tile_lengths : sequence of int
        Frames of the tiles.
    otherwise : VocoderRenderer
        Used for what cannot be rendered in tiles: windows shorter than every tile, and vocoders that draw
        random numbers of the shape of their tensors (RefineGAN, unless its noise is switched off).
    render_tile : RenderTile
        How one tile is rendered.
    """

    def __init__(
        self,
        tile_lengths: Sequence[int],
        otherwise: VocoderRenderer,
        render_tile: RenderTile = render_plainly,
    ) -> None:
        self.tile_lengths = sorted(tile_lengths)
        self._otherwise = otherwise
        self._render_tile = render_tile

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
        """Render float32 latent ``(batch, inter_channels, frames)`` to ``(batch, 1, samples)``.

        Items of a batch are rendered one by one, silent where ``wanted`` or ``valid`` leaves them out.
        """
        tiles = None
        if not (vocoder.draws_noise and noise.scale != 0):
            tiles = self._plan(vocoder.context_frames, len(latent), latent.shape[-1], valid, wanted)
        if tiles is None:
            return self._otherwise(vocoder, latent, source, speaker, noise, valid, wanted)
        return self._in_tiles(vocoder, latent, source, speaker, tiles)

    def _plan(
        self,
        context_frames: int,
        batch: int,
        frames: int,
        valid: Valid,
        wanted: Sequence[Spans] | None,
    ) -> list[Tile] | None:
        """The tiles of a batch, or ``None`` when one of its items is shorter than all usable ones."""
        ends = valid or (frames,) * batch
        tiles: list[Tile] = []
        for item, end in enumerate(ends):
            lengths = [length for length in self.tile_lengths if 2 * context_frames < length <= end]
            if not lengths:
                return None
            for start, stop in [(0, end)] if wanted is None else wanted[item]:
                tiles += plan_tiles((start, min(stop, end)), end, context_frames, lengths, item=item)
        return tiles

    def _in_tiles(
        self,
        vocoder: VocoderNetwork,
        latent: Tensor,
        source: Tensor | None,
        speaker: Tensor,
        tiles: list[Tile],
    ) -> Tensor:
        hop = vocoder.hop_length
        waveform = torch.zeros(len(latent), 1, latent.shape[-1] * hop, device=latent.device)
        for tile in tiles:
            rendered = self._render_tile(vocoder, *_cut_out(tile, hop, latent, source, speaker))
            kept = rendered[0, :, (tile.start - tile.low) * hop : (tile.end - tile.low) * hop]
            waveform[tile.item, :, tile.start * hop : tile.end * hop] = kept
        return waveform


def _cut_out(
    tile: Tile, hop: int, latent: Tensor, source: Tensor | None, speaker: Tensor
) -> tuple[Tensor, Tensor | None, Tensor]:
    item, high = slice(tile.item, tile.item + 1), tile.low + tile.length
    return (
        _as_made(latent[item, :, tile.low : high]),
        None if source is None else _as_made(source[item, :, tile.low * hop : high * hop]),
        _as_made(speaker[item]),
    )


def _as_made(part: Tensor) -> Tensor:
    """A copy laid out as if it had been made alone: compiled code is made for one layout as well."""
    return part.clone(memory_format=torch.contiguous_format)
