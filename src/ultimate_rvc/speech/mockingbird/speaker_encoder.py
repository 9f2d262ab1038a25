"""The speaker encoder: who speaks in a recording, as a vector of 256 numbers.

Wan et al., "Generalized End-to-End Loss for Speaker Verification" (2018): three LSTM layers over 1.6 s of mel
spectrogram. The weights are those of the package Resemblyzer (Apache-2.0), or MockingBird's own; embeddings are
those of Resemblyzer's ``embed_utterance``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ultimate_rvc.audio.mel_filters import mel_filters

FloatArray = NDArray[np.float32]

SAMPLE_RATE = 16_000
WINDOW, HOP = 400, 160  # 25 ms and 10 ms
MELS = 40
PART_FRAMES = 160  # 1.6 s are heard at once
PARTS_A_SECOND = 1.3
LEAST_COVERAGE = 0.75  # of the last part; one that is emptier is left out


class SpeakerEncoder(nn.Module):
    """Mel frames (batch, frames, mels) to embeddings (batch, width) of length 1."""

    def __init__(self, *, mels: int = MELS, width: int = 256, layers: int = 3, embedding: int = 256) -> None:
        super().__init__()
        self.lstm = nn.LSTM(mels, width, layers, batch_first=True)
        self.linear = nn.Linear(width, embedding)

    def forward(self, frames: Tensor) -> Tensor:
        last: Tensor = self.lstm(frames)[1][0][-1]
        return nn.functional.normalize(torch.relu(self.linear(last)), dim=1)

    @torch.inference_mode()
    def embed(self, waveform_16k: FloatArray) -> FloatArray:
        """The embedding (width,) of mono audio (samples,) at 16 kHz: the mean of its parts, of length 1."""
        starts = part_starts(len(waveform_16k))
        needed = (starts[-1] + PART_FRAMES) * HOP
        padded = np.pad(waveform_16k, (0, max(0, needed - len(waveform_16k))))
        frames = mel_frames(padded)
        parts = torch.stack([frames[start : start + PART_FRAMES] for start in starts])
        mean = self(parts.to(self.linear.weight.device)).mean(dim=0)
        embedding: FloatArray = nn.functional.normalize(mean, dim=0).cpu().numpy()
        return embedding


def part_starts(samples: int) -> list[int]:
    """The frames at which parts of a recording begin."""
    frames = math.ceil((samples + 1) / HOP)
    step = round(SAMPLE_RATE / PARTS_A_SECOND / HOP)
    starts = list(range(0, max(1, frames - PART_FRAMES + step + 1), step))
    coverage = (samples - starts[-1] * HOP) / (PART_FRAMES * HOP)
    return starts[:-1] if coverage < LEAST_COVERAGE and len(starts) > 1 else starts


def mel_frames(waveform_16k: FloatArray) -> Tensor:
    """Power in mel bands, (frames, mels), without a logarithm."""
    filters = mel_filters(
        sample_rate=SAMPLE_RATE, n_fft=WINDOW, n_mels=MELS, f_min_hz=0.0, f_max_hz=SAMPLE_RATE / 2, htk=False
    )
    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(waveform_16k, np.float32)), WINDOW, HOP,
        window=torch.hann_window(WINDOW), center=True, pad_mode="constant", return_complex=True,
    )  # fmt: skip
    return (torch.from_numpy(filters) @ spectrum.abs().square()).T
