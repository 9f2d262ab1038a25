"""The vocoder through ``torch.compile``, at two lengths for songs of every length.

Compiled code is made for one length, and making it takes up to minutes. So a window is rendered in tiles of two
lengths (see :mod:`..fixed_tiles`), and a second song compiles nothing. A second voice of the same sizes compiles
nothing either: weights are inputs of compiled code.

Only the vocoder is compiled, which does nearly all the work of a voice. The content encoder is not: its
first norm runs over the time of the whole window, so neither tiles nor padding leave it the same, and its
time goes into matrix products, which compiling leaves as they are. Nor is the text encoder, whose attention
spans the window: it would need a compiled form for each of many lengths.

Run on a CPU only so far. On CUDA (Triton) and MPS, neither gains nor times to compile are known.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ultimate_rvc.device import is_out_of_memory
from ultimate_rvc.rvc.infer.optimization.fixed_tiles import TiledRenderer, render_plainly, tile_lengths_for
from ultimate_rvc.rvc.infer.optimization.rendering import Spans, VocoderRenderer
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.padding import Valid
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork

log = logging.getLogger(__name__)

WARM_UP_F0_HZ = 220.0

Stage = Callable[[str], AbstractContextManager[Any]]


class CompiledRender:
    """Runs vocoders compiled, tile by tile; called as a :class:`VocoderRenderer` is.

    Each length is compiled when it is first met, unless ``warm_up`` did so before. Where compiling fails, for
    want of a compiler for instance, one warning says so and everything runs uncompiled from then on.

    Parameters
    ----------
    device : torch.device
        Where vocoders run.
    uncompiled : VocoderRenderer
        Used where compiling fails, and for what cannot be rendered in tiles.
    tile_lengths : sequence of int, optional
        Frames of the tiles; left out, those for the device.
    """

    def __init__(
        self,
        device: torch.device,
        uncompiled: VocoderRenderer,
        *,
        backend: str | Callable[..., Any] = "inductor",
        tile_lengths: Sequence[int] | None = None,
    ) -> None:
        self._tiled = TiledRenderer(tile_lengths or tile_lengths_for(device), uncompiled, self._render_tile)
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
        wanted: Sequence[Spans] | None = None,
    ) -> Tensor:
        """Render float32 latent ``(batch, inter_channels, frames)`` to ``(batch, 1, samples)``.

        Items of a batch are rendered one by one, silent where ``wanted`` or ``valid`` leaves them out.
        """
        self._await_warm_up()
        inputs = (vocoder, latent, source, speaker, noise, valid, wanted)
        if not self._failed:
            try:
                return self._tiled(*inputs)
            except Exception as error:  # compilers raise types of their own, by backend
                if is_out_of_memory(error):
                    raise
                self._failed = True
                log.warning(
                    "torch.compile does not work here (%s); the vocoder runs uncompiled.", _reason(error)
                )
        return self._uncompiled(*inputs)

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
            for length in reversed(self._tiled.tile_lengths):
                with stage("synthesize"):
                    synthesizer.infer(*_steady_tone(synthesizer, length), generator=generator, render=self)
        except Exception as error:  # the song will meet the same again and say so to its user
            log.warning("The vocoder could not be warmed up (%s).", _reason(error))

    def _render_tile(
        self, vocoder: VocoderNetwork, latent: Tensor, source: Tensor | None, speaker: Tensor
    ) -> Tensor:
        if self._compiled is None:
            _hold_device_guard()
            self._compiled = torch.compile(render_plainly, dynamic=False, backend=self._backend)
        return self._compiled(vocoder, latent, source, speaker)


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
