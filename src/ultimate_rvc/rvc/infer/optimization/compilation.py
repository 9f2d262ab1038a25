"""The vocoder through ``torch.compile``, at two lengths for songs of every length.

Compiled code is made for one length, and making it takes up to minutes. So a window is rendered in
overlapping tiles that all have one of two lengths: a vocoder looks only ``context_frames`` to either side,
and a tile that reaches so much further, or to the very end of the window, gives what a render of the whole
gives there. Nothing is padded, nothing has to be masked, and a second song compiles nothing. A second voice
of the same sizes compiles nothing either: weights are inputs of compiled code.

Only the vocoder is compiled, which does nearly all the work of a voice. The content encoder is not: its
first norm runs over the time of the whole window, so neither tiles nor padding leave it the same, and its
time goes into matrix products, which compiling leaves as they are. Nor is the text encoder, whose attention
spans the window: it would need a compiled form for each of many lengths.

Run on a CPU only so far. On CUDA (Triton) and MPS, neither gains nor times to compile are known.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from ultimate_rvc.device import is_out_of_memory
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork

log = logging.getLogger(__name__)

SHORT_TILE = 200  # frames: the shortest window of the pipeline has 202
LONG_TILES = {"cpu": 512, "cuda": 1024, "mps": 1024}  # a CPU's cache wants small ones, a GPU large ones
SILENT = Noise(0.0)
WARM_UP_F0_HZ = 220.0

Stage = Callable[[str], AbstractContextManager[Any]]


class SpanRender(Protocol):
    """A ``VocoderRender`` that can leave out frames nobody will hear."""

    def __call__(
        self,
        vocoder: VocoderNetwork,
        latent: Tensor,
        source: Tensor | None,
        speaker: Tensor,
        noise: Noise,
        valid: Valid = None,
        wanted: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> Tensor: ...


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


class CompiledRender:
    """Runs vocoders compiled, tile by tile: a ``SpanRender``.

    Each length is compiled when it is first met, unless ``warm_up`` did so before. Where compiling fails, for
    want of a compiler for instance, one warning says so and everything runs uncompiled from then on.

    Parameters
    ----------
    device : torch.device
        Where vocoders run.
    uncompiled : SpanRender
        Used for what cannot be rendered in tiles: windows shorter than every tile, and vocoders that draw
        random numbers of the shape of their tensors (RefineGAN, unless its noise is switched off).
    tile_lengths : sequence of int, optional
        Frames of the tiles; left out, those for the device.
    """

    def __init__(
        self,
        device: torch.device,
        uncompiled: SpanRender,
        *,
        backend: str | Callable[..., Any] = "inductor",
        tile_lengths: Sequence[int] | None = None,
    ) -> None:
        self.tile_lengths = sorted(tile_lengths or (SHORT_TILE, LONG_TILES[device.type]))
        self._backend = backend
        self._uncompiled = uncompiled
        self._compiled: Callable[..., Tensor] | None = None
        self._failed = False
        self._warming: threading.Thread | None = None

    def __call__(
        self,
        vocoder: VocoderNetwork,
        latent: Tensor,
        source: Tensor | None,
        speaker: Tensor,
        noise: Noise,
        valid: Valid = None,
        wanted: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> Tensor:
        """Render latent (batch, inter_channels, frames) to (batch, 1, samples).

        Items of a batch are rendered one by one, silent where ``wanted`` or ``valid`` leaves them out.
        """
        self._await_warm_up()
        tiles = None
        if not self._failed and not (vocoder.draws_noise and noise.scale != 0):
            tiles = self._plan(vocoder.context_frames, len(latent), latent.shape[-1], valid, wanted)
        if tiles is not None:
            try:
                return self._in_tiles(vocoder, latent, source, speaker, tiles)
            except Exception as error:  # compilers raise types of their own, by backend
                if is_out_of_memory(error):
                    raise
                self._failed = True
                log.warning(
                    "torch.compile does not work here (%s); the vocoder runs uncompiled.", _reason(error)
                )
        return self._uncompiled(vocoder, latent, source, speaker, noise, valid, wanted)

    def warm_up(self, synthesizer: Synthesizer, stage: Stage | None = None) -> None:
        """Compile every length in the background, by rendering windows of it.

        Return at once; a render meanwhile waits for the end of it, so that what is heard does not depend
        on which of the two was faster. The ``synthesizer`` is prepared for its precision; ``stage`` is
        ``Precision.stage``: compiled code is made for the arithmetic in force.
        """
        self._await_warm_up()
        self._warming = threading.Thread(
            target=self._warm_up,
            args=(synthesizer, stage or (lambda _: nullcontext())),
            name="vocoder warm-up",
            daemon=True,
        )
        self._warming.start()

    def wait(self) -> bool:
        """Wait for the end of a warm-up; whether vocoders run compiled as far as is known."""
        self._await_warm_up()
        return not self._failed

    def _await_warm_up(self) -> None:
        thread = self._warming
        if thread is not None and thread is not threading.current_thread():
            thread.join()
            self._warming = None

    def _warm_up(self, synthesizer: Synthesizer, stage: Stage) -> None:
        try:
            # Its own, so that a warm-up does not move anybody else's random numbers.
            generator = torch.Generator().manual_seed(0)
            for length in reversed(self.tile_lengths):
                with stage("synthesize"):
                    synthesizer.infer(*_steady_tone(synthesizer, length), generator=generator, render=self)
        except Exception as error:  # the song will meet the same again and say so to its user
            log.warning("The vocoder could not be warmed up (%s).", _reason(error))

    def _plan(
        self,
        context_frames: int,
        batch: int,
        frames: int,
        valid: Valid,
        wanted: Sequence[Sequence[tuple[int, int]]] | None,
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
            rendered = self._render_tile(vocoder, latent, source, speaker, tile)
            kept = rendered[0, :, (tile.start - tile.low) * hop : (tile.end - tile.low) * hop]
            waveform[tile.item, :, tile.start * hop : tile.end * hop] = kept
        return waveform

    def _render_tile(
        self, vocoder: VocoderNetwork, latent: Tensor, source: Tensor | None, speaker: Tensor, tile: Tile
    ) -> Tensor:
        if self._compiled is None:
            _hold_device_guard()
            self._compiled = torch.compile(_run_vocoder, dynamic=False, backend=self._backend)
        item, high, hop = slice(tile.item, tile.item + 1), tile.low + tile.length, vocoder.hop_length
        return self._compiled(
            vocoder,
            _as_made(latent[item, :, tile.low : high]),
            None if source is None else _as_made(source[item, :, tile.low * hop : high * hop]),
            _as_made(speaker[item]),
        )


def _run_vocoder(vocoder: VocoderNetwork, latent: Tensor, source: Tensor | None, speaker: Tensor) -> Tensor:
    return vocoder(latent, source, speaker, SILENT)


def _as_made(part: Tensor) -> Tensor:
    """A copy laid out as if it had been made alone: compiled code is made for one layout as well."""
    return part.clone(memory_format=torch.contiguous_format)


@cache
def _hold_device_guard() -> None:
    """Keep torch 2.11 from crashing where it was built for CUDA and there is none.

    The first thread that compiles registers an object of its own for the whole process, which is gone when
    the thread ends; the next thread to compile reads what is left of it. So a thread that never ends goes
    first. Mended in https://github.com/pytorch/pytorch/pull/178950.
    """
    register = getattr(torch._C, "_ensureCUDADeviceGuardSet", None)
    if register is None or torch.cuda.is_available():
        return
    registered = threading.Event()

    def hold() -> None:
        register()
        registered.set()
        threading.Event().wait()

    threading.Thread(target=hold, name="device guard", daemon=True).start()
    registered.wait()


def _steady_tone(
    synthesizer: Synthesizer, frames: int
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """Inputs of ``Synthesizer.infer`` for a window of one item."""
    weight = synthesizer.emb_g.weight
    features = weight.new_zeros(1, frames, synthesizer.config.phone_dim)
    speaker_id = torch.zeros(1, dtype=torch.long, device=weight.device)
    if not synthesizer.has_f0:
        return features, None, None, speaker_id
    f0_hz = weight.new_full((1, frames), WARM_UP_F0_HZ)
    return features, torch.ones_like(f0_hz, dtype=torch.long), f0_hz, speaker_id


def _reason(error: Exception) -> str:
    """Type and first line of a message, of which compilers write hundreds, without torch's wrapping."""
    inner = getattr(error, "inner_exception", error)
    first = next(iter(str(inner).strip().splitlines()), "")
    return f"{type(inner).__name__}: {first}"
