"""`starter`, the content encoder that ships with the package: three layers of Whisper tiny.en.

The third layer is where Whisper knows what is said and has forgotten most about who says it; the
fourth and the final norm are worse on both counts (docs/content-encoders.md has the figures). A norm
without parameters at the end gives all 384 features one scale.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from ultimate_rvc.rvc.content.whisper_encoder import (
    DIM,
    MAX_FRAMES,
    WhisperEncoder,
    log10_mel,
    scale_log_mel,
)

LAYER_COUNT = 3
FRAME_SAMPLES = 320
MEL_PER_FRAME = 2
FIRST_MEL = 1  # frame i looks at mel frame 2 i + 1: the middle of its 320 samples, as HuBERT's frames do
OVERLAP_FRAMES = 100  # 2 s on either side of a window are only context: beyond, windows agree


class StarterEncoder:
    """384 features, 50 per second, for audio of any length."""

    name = "starter"

    def __init__(self, weights: Path, device: torch.device | str) -> None:
        self._network = WhisperEncoder(LAYER_COUNT)
        self._network.load_state_dict({key: value.float() for key, value in load_file(weights).items()})
        self._network.to(device).eval().requires_grad_(False)

    def feature_dim(self, version: str) -> int:
        """The same for v1 and v2 voices."""
        return DIM

    @torch.inference_mode()
    def encode(self, waveform_16k: Tensor, version: str) -> Tensor:
        """Features of ``waveform_16k``, by windows of 30 s that overlap.

        Parameters
        ----------
        waveform_16k
            ``(batch, samples)`` float32 at 16 kHz, at least 400 samples.
        version
            Of the voice; it changes nothing here.

        Returns
        -------
        ``(batch, (samples - 80) // 320, 384)``; frame ``i`` is centred on sample ``320 * i + 160``.
        """
        frames = (waveform_16k.shape[-1] - 80) // FRAME_SAMPLES
        log_mel = log10_mel(waveform_16k)
        # One loudest value for all windows: taken per window it would make their joins audible.
        scaled = scale_log_mel(log_mel, log_mel.amax(dim=(1, 2), keepdim=True))
        pieces = [
            self._window(scaled, start, end)[:, keep_from - start : keep_to - start]
            for start, end, keep_from, keep_to in windows(frames)
        ]
        return torch.cat(pieces, dim=1)

    def _window(self, scaled_mel: Tensor, start: int, end: int) -> Tensor:
        mel = scaled_mel[..., FIRST_MEL + MEL_PER_FRAME * start : FIRST_MEL + MEL_PER_FRAME * end]
        return F.layer_norm(self._network(mel), (DIM,))


def windows(frames: int) -> list[tuple[int, int, int, int]]:
    """Windows over ``frames`` frames: start, end, and the part ``[from, to)`` of each that is kept.

    At most ``MAX_FRAMES`` long, equally spaced, overlapping by at least twice ``OVERLAP_FRAMES``; the
    kept parts meet in the middle of each overlap.
    """
    if frames <= MAX_FRAMES:
        return [(0, frames, 0, frames)]
    stride = MAX_FRAMES - 2 * OVERLAP_FRAMES
    count = -(-(frames - MAX_FRAMES) // stride) + 1
    starts = [round(number * (frames - MAX_FRAMES) / (count - 1)) for number in range(count)]
    borders = [
        0,
        *((left + MAX_FRAMES + right) // 2 for left, right in zip(starts, starts[1:], strict=False)),
        frames,
    ]
    return [
        (start, start + MAX_FRAMES, borders[number], borders[number + 1])
        for number, start in enumerate(starts)
    ]
