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

from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.rvc.content.files import files_identity
from ultimate_rvc.rvc.content.whisper_encoder import DIM, WhisperEncoder, log10_mel, scale_log_mel

LAYER_COUNT = 3
FRAME_SAMPLES = 320
RECEPTIVE_SAMPLES = 400  # of HuBERT, whose frame count every encoder keeps: (samples - 80) // 320
MEL_PER_FRAME = 2
FIRST_MEL = 1  # frame i looks at mel frame 2 i + 1, the middle of the 320 samples it stands for
# Whisper's features depend a little on the position inside its window, more than on what lies around.
# Windows of 10 s instead of 30 keep positions near those of the short pieces voices are trained on.
WINDOW_FRAMES = 500
OVERLAP_FRAMES = 100  # 2 s, of which the middle second fades from one window to the next
EDGE_FRAMES = 25  # the outer half seconds are context alone
WINDOWS_AT_ONCE = 8  # bounds the memory for long audio


class StarterEncoder:
    """384 features, 50 per second, for audio of any length."""

    name: str = EmbedderModel.STARTER.value

    def __init__(self, weights: Path, device: torch.device | str) -> None:
        self._weights = weights
        self._network = WhisperEncoder(LAYER_COUNT)
        self._network.load_state_dict({key: value.float() for key, value in load_file(weights).items()})
        self._network.to(device).eval().requires_grad_(False)

    def feature_dim(self, version: str) -> int:
        """The same for v1 and v2 voices."""
        return DIM

    def identity(self) -> str:
        """Hash of the weights."""
        return files_identity(self._weights)

    @torch.no_grad()
    def encode(self, waveform_16k: Tensor, version: str) -> Tensor:
        """Features of ``waveform_16k``, by windows of 10 s that overlap.

        Parameters
        ----------
        waveform_16k
            ``(batch, samples)`` float32 at 16 kHz.
        version
            Of the voice; it changes nothing here.

        Returns
        -------
        ``(batch, (samples - 80) // 320, 384)``; frame ``i`` is centred on sample ``320 * i + 160``.
        """
        batch, samples = waveform_16k.shape
        if samples < RECEPTIVE_SAMPLES:
            return waveform_16k.new_zeros(batch, 0, DIM)
        frames = (samples - 80) // FRAME_SAMPLES
        log_mel = log10_mel(waveform_16k)
        # One loudest value for all windows: taken per window it would make their joins audible.
        scaled = scale_log_mel(log_mel, log_mel.amax(dim=(1, 2), keepdim=True))
        scaled = scaled[..., FIRST_MEL : FIRST_MEL + MEL_PER_FRAME * frames]
        if frames <= WINDOW_FRAMES:
            return self._features(scaled)
        return self._by_windows(scaled, frames)

    def _features(self, scaled_mel: Tensor) -> Tensor:
        return F.layer_norm(self._network(scaled_mel), (DIM,))

    def _by_windows(self, scaled_mel: Tensor, frames: int) -> Tensor:
        """Features of every window, faded into one another."""
        starts = window_starts(frames)
        summed = scaled_mel.new_zeros(len(scaled_mel), frames, DIM)
        weights = scaled_mel.new_zeros(frames, 1)
        for first in range(0, len(starts), WINDOWS_AT_ONCE):
            group = starts[first : first + WINDOWS_AT_ONCE]
            mels = [
                scaled_mel[..., MEL_PER_FRAME * at : MEL_PER_FRAME * (at + WINDOW_FRAMES)] for at in group
            ]
            for at, features in zip(group, self._features(torch.cat(mels)).chunk(len(group)), strict=True):
                fade = window_fade(at > 0, at + WINDOW_FRAMES < frames).to(summed)[:, None]
                summed[:, at : at + WINDOW_FRAMES] += fade * features
                weights[at : at + WINDOW_FRAMES] += fade
        return summed / weights


def window_starts(frames: int) -> list[int]:
    """First frames of the windows over ``frames`` frames; the last window ends with the last frame."""
    last = frames - WINDOW_FRAMES
    return [*range(0, last, WINDOW_FRAMES - OVERLAP_FRAMES), last]


def window_fade(has_left: bool, has_right: bool) -> Tensor:
    """How much each frame of a window counts, before the sum over windows is divided out.

    0 in the outer half second on a side with a neighbour, a ramp over the next second, then 1.
    """
    rise = (torch.arange(WINDOW_FRAMES) + 0.5 - EDGE_FRAMES) / (OVERLAP_FRAMES - 2 * EDGE_FRAMES)
    rise = rise.clamp(0.0, 1.0)
    whole = torch.ones(WINDOW_FRAMES)
    return torch.minimum(rise if has_left else whole, rise.flip(0) if has_right else whole)
