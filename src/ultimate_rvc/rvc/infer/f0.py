"""The f0 that a voice follows: found in the recording, shifted and tuned as the settings ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ultimate_rvc.choices import F0Method
from ultimate_rvc.device import is_out_of_memory, out_of_memory_error, release_cached_memory
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.chunks import SILENT_BELOW
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.pitch import PitchMethod, extract_f0, load_pitch_methods
from ultimate_rvc.rvc.pitch.curve import autotune, proposed_shift, transpose_f0

log = logging.getLogger(__name__)

CHUNK_SECONDS = 25.6  # with RMVPE's context 36 s, so that a song takes the memory of half a minute
SHORTEST_SECONDS = 2.0  # chunks are halved down to this for lack of memory


class F0Finder:
    """Pitch methods on one device, each loaded when it is first wanted, and handed to ``prepare`` then."""

    def __init__(
        self,
        device: torch.device,
        *,
        skip_silence: bool = False,
        prepare: Callable[[PitchMethod], object] = lambda _: None,
    ) -> None:
        self._device = device
        self._prepare = prepare
        # A GPU would have to be waited for to know whether a piece is silent.
        self._silent_below = SILENT_BELOW if skip_silence and device.type == "cpu" else None
        self._methods: dict[tuple[F0Method, ...], PitchMethod] = {}

    def find(self, waveform_16k: Tensor, names: Sequence[F0Method], progress: Progress) -> Tensor:
        """f0 of float32 ``(samples,)`` at 16 kHz: float32 ``(frames,)`` in Hz at 100 Hz, 0 where unvoiced.

        The chunks in which it is found are halved each time the device has no memory left.
        """
        seconds = CHUNK_SECONDS
        while True:
            try:
                method = self.load(names)
                return extract_f0(
                    method,
                    waveform_16k,
                    chunk_seconds=seconds,
                    silent_below=self._silent_below,
                    progress=progress,
                )
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if seconds < SHORTEST_SECONDS:
                    raise out_of_memory_error(self._device) from error
            # Outside the handler, whose traceback would keep the tensors of the failed attempt.
            seconds /= 2
            release_cached_memory(self._device)
            log.warning(
                "Out of memory on %s while finding f0; trying chunks of %.0f s.", self._device, seconds
            )

    def load(self, names: Sequence[F0Method]) -> PitchMethod:
        """The method of ``names``, whose networks are loaded now unless they are here."""
        key = tuple(names)
        if key not in self._methods:
            self._methods[key] = method = load_pitch_methods(key, self._device)
            self._prepare(method)
        return self._methods[key]

    def forget(self) -> None:
        """Give back the memory of the networks; they are loaded again when they are wanted."""
        self._methods.clear()
        release_cached_memory(self._device)


def shift_and_tune(f0_hz: Tensor, settings: ConversionSettings) -> tuple[Tensor, int]:
    """The f0 that the voice will follow, float32 ``(frames,)`` in Hz, and its shift in semitones."""
    shift = settings.shift_semitones
    if settings.proposed_pitch:
        shift += proposed_shift(f0_hz, settings.proposed_pitch_threshold)
    f0_hz = transpose_f0(f0_hz, shift)
    # Autotune follows transposition; other tools do the one or the other.
    return (autotune(f0_hz, settings.autotune_strength) if settings.autotune_voice else f0_hz), shift


def warn_of_ignored_pitch(settings: ConversionSettings) -> None:
    """Say that a voice without f0 cannot follow the settings of pitch, if any of them is in use."""
    if settings.n_octaves or settings.n_semitones or settings.autotune_voice or settings.proposed_pitch:
        log.warning(
            "This voice follows no pitch, so n_octaves, n_semitones, autotune_voice and proposed_pitch "
            "change nothing."
        )
