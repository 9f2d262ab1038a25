"""The vocoder in overlapping tiles of time: bounded memory, and faster on a CPU.

A vocoder of convolutions looks only so far to either side. Rendering a window in tiles that are that
much wider, and keeping their middles, gives the whole up to rounding. On a CPU that is faster, since
tensors above 32 MB are fetched from the operating system page by page for each operation (the limit of
glibc's allocator), and memory no longer grows with the window. On a GPU it would only add launches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid, clipped
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork, render_whole

# The widest tensor of a stock voice has 128 channels at 100 samples per frame: 26 MB in such a tile.
TILE_FRAMES = 512


def render_for_device(
    vocoder: VocoderNetwork,
    latent: Tensor,
    source: Tensor | None,
    speaker: Tensor,
    noise: Noise,
    valid: Valid = None,
) -> Tensor:
    """Run the vocoder in the way that is fastest on the device of ``latent``; a ``VocoderRender``.

    Tiles on a CPU. RefineGAN draws random numbers of the shape of its tensors in every layer, which
    tiles would draw differently, so it is cut only when it draws none.
    """
    if latent.device.type == "cpu" and not (vocoder.draws_noise and noise.scale != 0):
        return render_in_tiles(vocoder, latent, source, speaker, noise, valid)
    return render_whole(vocoder, latent, source, speaker, noise, valid)


def render_in_tiles(
    vocoder: VocoderNetwork,
    latent: Tensor,
    source: Tensor | None,
    speaker: Tensor,
    noise: Noise,
    valid: Valid = None,
    *,
    tile_frames: int = TILE_FRAMES,
) -> Tensor:
    """Run the vocoder over one tile after the other.

    Parameters
    ----------
    latent : Tensor (batch, inter_channels, frames)
    source : Tensor (batch, 1, samples) or None
        The excitation of all frames; drawn once, so its randomness does not depend on the tiles.
    tile_frames : int
        Most frames a tile gives; it is computed ``vocoder.context_frames`` wider on either side.

    Returns
    -------
    Tensor (batch, 1, samples)
        The render of the whole up to rounding, if the vocoder draws no random numbers of its own.
    """
    frames = latent.shape[-1]
    if frames <= tile_frames:
        return render_whole(vocoder, latent, source, speaker, noise, valid)
    step = -(-frames // -(-frames // tile_frames))  # tiles of one size, not many and a rest
    tiles = []
    for start in range(0, frames, step):
        end = min(start + step, frames)
        low, high = max(start - vocoder.context_frames, 0), min(end + vocoder.context_frames, frames)
        tile_source = None
        if source is not None:
            hop = source.shape[-1] // frames
            tile_source = source[..., low * hop : high * hop]
        tile = vocoder(latent[..., low:high], tile_source, speaker, noise, clipped(valid, low, high))
        hop = tile.shape[-1] // (high - low)
        tiles.append(tile[..., (start - low) * hop : (end - low) * hop])
    return torch.cat(tiles, dim=-1)
