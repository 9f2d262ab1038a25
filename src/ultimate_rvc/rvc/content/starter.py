"""`starter`, the content encoder that ships with the package: three layers of Whisper tiny.en.

The third layer is where Whisper knows what is said and has forgotten most about who says it; the
fourth and the final norm are worse on both counts (docs/content-encoders.md has the figures). A norm
without parameters at the end gives all 384 features one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.rvc.content.files import files_identity
from ultimate_rvc.rvc.content.frames import RECEPTIVE_SAMPLES, frame_count, padded_lengths
from ultimate_rvc.rvc.content.whisper_encoder import DIM, N_MELS, WhisperEncoder, log10_mel, scale_log_mel
from ultimate_rvc.rvc.networks.padding import Valid

LAYER_COUNT = 3
MEL_PER_FRAME = 2
FIRST_MEL = 1  # frame i looks at mel frame 2 i + 1, the middle of the 320 samples it stands for
# Whisper's features depend a little on the position inside its window, more than on what lies around.
# Windows of 10 s instead of 30 keep positions near those of the short pieces voices are trained on.
WINDOW_FRAMES = 500
OVERLAP_FRAMES = 100  # 2 s, of which the middle second fades from one window to the next
EDGE_FRAMES = 25  # the outer half seconds are context alone
WINDOWS_AT_ONCE = 8  # bounds the memory for long audio


@dataclass(frozen=True)
class _Window:
    """Frames ``start`` to ``start + frames`` of one item of a padded batch."""

    item: int
    start: int
    frames: int


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

    def networks(self, version: str) -> list[nn.Module]:
        """The one network."""
        return [self._network]

    def identity(self) -> str:
        """Hash of the weights."""
        return files_identity(self._weights)

    @torch.no_grad()
    def encode(self, waveform_16k: Tensor, version: str, lengths: Sequence[int] | None = None) -> Tensor:
        """Features of ``(batch, samples)`` at 16 kHz, by windows of 10 s that overlap; the same for v1 and v2.

        ``(batch, (samples - 80) // 320, 384)``; frame ``i`` is centred on sample ``320 * i + 160``.
        """
        lengths = padded_lengths(waveform_16k, lengths)
        batch, samples = waveform_16k.shape
        if samples < RECEPTIVE_SAMPLES:
            return waveform_16k.new_zeros(batch, 0, DIM)
        if lengths is not None:
            return self._padded(waveform_16k, lengths)
        scaled = _scaled_mel(waveform_16k)
        frames = frame_count(samples)
        if frames <= WINDOW_FRAMES:
            return self._features(scaled)
        return self._by_windows(scaled, frames)

    def _features(self, scaled_mel: Tensor, valid: Valid = None) -> Tensor:
        return F.layer_norm(self._network(scaled_mel, valid), (DIM,))

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
                fade = window_fade(at > 0, at + WINDOW_FRAMES < frames, summed.device)[:, None]
                summed[:, at : at + WINDOW_FRAMES] += fade * features
                weights[at : at + WINDOW_FRAMES] += fade
        return summed / weights

    def _padded(self, waveform_16k: Tensor, lengths: Sequence[int]) -> Tensor:
        """Features of a padded batch: the windows of all items, those of one length together."""
        valid = tuple(frame_count(length) for length in lengths)
        # Each item has reflections at its own end, and a loudest value of its own.
        mels = [
            _scaled_mel(waveform_16k[item : item + 1, :length])[0]
            if valid[item]
            else waveform_16k.new_zeros(0)
            for item, length in enumerate(lengths)
        ]
        windows = [
            _Window(item, start, min(frames, WINDOW_FRAMES))
            for item, frames in enumerate(valid)
            for start in window_starts(frames)
        ]
        windows.sort(key=lambda window: -window.frames)
        summed = waveform_16k.new_zeros(len(valid), frame_count(waveform_16k.shape[-1]), DIM)
        weights = torch.zeros_like(summed[..., :1])
        for first in range(0, len(windows), WINDOWS_AT_ONCE):
            group = windows[first : first + WINDOWS_AT_ONCE]
            for window, features in zip(group, self._window_features(mels, group), strict=True):
                has_right = window.start + window.frames < valid[window.item]
                fade = window_fade(window.start > 0, has_right, summed.device)[: window.frames, None]
                place = window.item, slice(window.start, window.start + window.frames)
                summed[place] += fade * features[: window.frames]
                weights[place] += fade
        return summed / weights.where(weights > 0, 1.0)  # nothing lies behind the ends

    def _window_features(self, mels: Sequence[Tensor], windows: Sequence[_Window]) -> Tensor:
        """Features of windows of several items, each as if it were alone; longest first."""
        longest, shortest = windows[0].frames, windows[-1].frames
        batch = mels[windows[0].item].new_zeros(len(windows), N_MELS, MEL_PER_FRAME * longest)
        for row, window in zip(batch, windows, strict=True):
            start, count = MEL_PER_FRAME * window.start, MEL_PER_FRAME * window.frames
            row[:, :count] = mels[window.item][:, start : start + count]
        valid = tuple(window.frames for window in windows)
        return self._features(batch, valid if shortest < longest else None)


def _scaled_mel(waveform_16k: Tensor) -> Tensor:
    """What the network is fed: two mel frames per content frame, scaled by the loudest of each item."""
    log_mel = log10_mel(waveform_16k)
    # One loudest value for all windows: taken per window it would make their joins audible.
    scaled = scale_log_mel(log_mel, log_mel.amax(dim=(1, 2), keepdim=True))
    return scaled[..., FIRST_MEL : FIRST_MEL + MEL_PER_FRAME * frame_count(waveform_16k.shape[-1])]


def window_starts(frames: int) -> list[int]:
    """First frames of the windows over ``frames`` frames; the last window ends with the last frame.

    Audio of up to 10 s is one window, and no frames have none.
    """
    if frames <= WINDOW_FRAMES:
        return [0] if frames else []
    last = frames - WINDOW_FRAMES
    return [*range(0, last, WINDOW_FRAMES - OVERLAP_FRAMES), last]


def window_fade(has_left: bool, has_right: bool, device: torch.device | None = None) -> Tensor:
    """How much each frame of a window counts, ``(500,)``, before the sum over windows is divided out.

    0 in the outer half second on a side with a neighbour, a ramp over the next second, then 1.
    """
    ramp_frames = OVERLAP_FRAMES - 2 * EDGE_FRAMES
    rise = (torch.arange(WINDOW_FRAMES, device=device) + 0.5 - EDGE_FRAMES) / ramp_frames
    rise = rise.clamp(0.0, 1.0)
    whole = torch.ones(WINDOW_FRAMES, device=device)
    return torch.minimum(rise if has_left else whole, rise.flip(0) if has_right else whole)
