"""Windows: the parts of recordings that a job converts, each with the context that it needs."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ultimate_rvc.rvc.infer import chunks as chunking
from ultimate_rvc.rvc.infer.chunks import Chunk, Joiner
from ultimate_rvc.rvc.infer.settings import ConversionSettings


@dataclass(frozen=True, eq=False)
class Recording:
    """What is known of one input before its windows are converted."""

    audio: str  # hash of its samples at 16 kHz
    waveform_16k: NDArray[np.float32]  # (samples,), high-passed, on the host: for cuts, gaps and level
    padded: Tensor  # (samples,), the same with context at both ends, on the device
    f0_hz: Tensor | None  # (frames,) of the padded audio at 100 Hz, shifted; None for voices without f0
    shift_semitones: int  # by which it was shifted
    settings: ConversionSettings
    joiner: Joiner


@dataclass(frozen=True)
class Window:
    """A chunk of one recording and the frames of its window that will be heard."""

    recording: Recording
    chunk: Chunk
    wanted: tuple[tuple[int, int], ...]

    @property
    def frames(self) -> int:
        """Frames of 10 ms, context included."""
        return self.chunk.window_frames

    @property
    def samples_16k(self) -> Tensor:
        """Float32 ``(samples,)`` at 16 kHz, context included, on the device."""
        samples = self.chunk.length + 2 * self.chunk.pad + chunking.ENCODER_TAIL
        return self.recording.padded[self.chunk.start : self.chunk.start + samples]

    @property
    def f0_hz(self) -> Tensor | None:
        """Float32 ``(frames,)`` in Hz, 0 where unvoiced; None for voices without f0."""
        if self.recording.f0_hz is None:
            return None
        first = self.chunk.start // chunking.F0_HOP
        return self.recording.f0_hz[first : first + self.frames]

    @property
    def generator(self) -> torch.Generator:
        """New random numbers that depend on the seed and the chunk's place, not on what ran before it."""
        seed = np.random.SeedSequence([self.recording.settings.seed, self.chunk.start])
        state = seed.generate_state(2, np.uint32)
        return torch.Generator(self.recording.padded.device).manual_seed(int(state[0]) << 31 ^ int(state[1]))


def windows_on(
    device: torch.device, windows: Iterable[Window], known: MutableMapping[Recording, Recording]
) -> list[Window]:
    """``windows`` with what is computed from on ``device``; ``known`` are recordings that were brought there."""

    def here(recording: Recording) -> Recording:
        if recording.padded.device == device:
            return recording
        if recording not in known:
            f0_hz = None if recording.f0_hz is None else recording.f0_hz.to(device)
            known[recording] = replace(recording, padded=recording.padded.to(device), f0_hz=f0_hz)
        return known[recording]

    return [replace(window, recording=here(window.recording)) for window in windows]


def plan_windows(recording: Recording, *, skip_silence: bool) -> list[Window]:
    """The windows of a recording; with ``skip_silence`` none for a chunk in which nothing is heard."""
    waveform_16k = recording.waveform_16k
    loudness = chunking.window_loudness(waveform_16k)
    if recording.settings.split_voice:
        parts = chunking.sounding_parts(waveform_16k)
    else:
        parts = [chunking.whole(len(waveform_16k))]
    chunks = [chunk for part in parts for chunk in chunking.cut(part, loudness)]
    return _windows_of(recording, chunks, skip_silence)


def halve_window(window: Window, *, skip_silence: bool) -> list[Window] | None:
    """Its two halves, less those in which nothing is heard; None when it is too short to be halved."""
    recording = window.recording
    halves = chunking.halve(window.chunk, chunking.window_loudness(recording.waveform_16k))
    return _windows_of(recording, halves, skip_silence) if halves else None


def _windows_of(recording: Recording, chunks: Iterable[Chunk], skip_silence: bool) -> list[Window]:
    sounding = chunking.sounding_frames(recording.waveform_16k) if skip_silence else None
    windows = [Window(recording, chunk, tuple(chunking.wanted_spans(chunk, sounding))) for chunk in chunks]
    return [window for window in windows if window.wanted]
