"""A dataset of a few short tones and tiny networks: trainings that take seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ultimate_rvc.choices import VoiceVersion
from ultimate_rvc.rvc.networks import discriminators
from ultimate_rvc.rvc.train import saving, sizes
from ultimate_rvc.rvc.train.batches import Example
from ultimate_rvc.rvc.train.mel import spectrogram
from ultimate_rvc.rvc.train.settings import NetworkChoice, TrainingSettings
from ultimate_rvc.rvc.train.tables import DataDescription

SAMPLE_RATE = 32_000
N_FFT = 1024
HOP_LENGTH = 320
PHONE_DIM = 12


class SmallData:
    """Pieces of 0.5 to 0.7 s, each a gliding tone with overtones, the same at every call."""

    def __init__(
        self,
        pieces: int = 6,
        held_out: int = 1,
        *,
        has_f0: bool = True,
        speakers: int = 1,
        phone_dim: int = PHONE_DIM,
        copies: int = 1,
    ) -> None:
        self.copies = copies
        self.has_f0, self.phone_dim = has_f0, phone_dim
        self._pieces = [self._example(number, speakers) for number in range(pieces + held_out)]
        self._trained = pieces
        self.description = DataDescription(
            sample_rate=SAMPLE_RATE,
            version="v2",
            has_f0=has_f0,
            embedder="starter",
            embedder_identity="0" * 64,
            custom_embedder_model=None,
            phone_dim=phone_dim,
            speakers=tuple(f"singer {number}" for number in range(speakers)),
            n_fft=N_FFT,
            hop_length=HOP_LENGTH,
            f0_method="fcpe" if has_f0 else None,
            dataset_seconds=0.6 * pieces,
            f0_percentiles_hz=(110.0, 220.0, 330.0) if has_f0 else None,
        )

    def __len__(self) -> int:
        return self._trained

    def example(self, number: int, copy: int = 0) -> Example:
        if not 0 <= number < self._trained or not 0 <= copy <= self.copies:
            raise IndexError(number, copy)
        piece = self._pieces[number]
        return replace(piece, features=piece.features + copy) if copy else piece

    @property
    def key(self) -> str:
        return f"{len(self._pieces)} pieces, {self.copies} copies"

    @property
    def frames(self) -> list[int]:
        return [self.example(number).frames for number in range(len(self))]

    @property
    def features(self) -> NDArray[np.float32]:
        return torch.cat([piece.features[::2] for piece in self._pieces]).numpy()

    def held_out(self) -> Sequence[Example]:
        return self._pieces[self._trained :]

    def _example(self, number: int, speakers: int) -> Example:
        random = torch.Generator().manual_seed(number)
        frames = 50 + 5 * (number % 5)
        f0_hz = 120.0 + 30 * number + torch.linspace(0, 40, frames)
        phase = 2 * math.pi * torch.cumsum(f0_hz.repeat_interleave(HOP_LENGTH) / SAMPLE_RATE, 0)
        waveform = sum(0.3 / overtone * torch.sin(overtone * phase) for overtone in range(1, 6))
        assert isinstance(waveform, torch.Tensor)
        waveform = waveform + 0.005 * torch.randn(waveform.shape, generator=random)
        return Example(
            features=torch.randn(frames, self.phone_dim, generator=random),
            pitch=(f0_hz / 5).long().clamp(1, 255) if self.has_f0 else None,
            f0_hz=f0_hz if self.has_f0 else None,
            spectrogram=spectrogram(waveform, N_FFT, HOP_LENGTH).T.contiguous(),
            waveform=waveform,
            speaker=number % speakers,
        )


def leave_out_layers(change: Callable[[Any, str, Any], None]) -> None:
    """Train with fewer layers and judges; ``change`` is as ``setattr``.

    The time of tiny networks goes by the number of their layers.
    """
    change(sizes, "RESBLOCK_KERNELS", (3,))
    change(sizes, "RESBLOCK_DILATIONS", ((1, 3),))
    change(discriminators, "PERIODS", dict.fromkeys(VoiceVersion, (2, 3)))


def leave_out_what_takes_time(change: Callable[[Any, str, Any], None]) -> None:
    """Train with fewer layers and judges, and without evaluator and plot.

    Voices of so few steps resemble nobody, and the evaluator takes seconds to load.
    """
    leave_out_layers(change)
    change(saving, "speaker_embedder", lambda: None)
    change(saving, "write_plot", lambda path, scores: None)


def tiny_settings(**changes: Any) -> TrainingSettings:
    """Two pieces a step, tiny networks, on the processor."""
    chosen: dict[str, Any] = {
        "network_size": NetworkChoice.TINY,
        "device": "cpu",
        "batch_size": 2,
        "num_epochs": 2,
        "save_interval": 1,
        "log_steps": 2,
    }
    return TrainingSettings(**chosen | changes)
