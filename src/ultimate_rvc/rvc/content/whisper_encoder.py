"""Whisper's audio encoder in plain torch: log-mel spectrogram, two convolutions, pre-norm transformer.

After "Robust Speech Recognition via Large-Scale Weak Supervision" (Radford et al., 2022), section 2.2.
The number of layers is free, because the content encoder `starter` needs only the first three; the
norm that ends Whisper's own encoder is left to the caller for the same reason.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ultimate_rvc.audio.mel_filters import mel_filters
from ultimate_rvc.rvc.networks.padding import Valid, clear_tails

SAMPLE_RATE = 16000
N_FFT = 400  # 25 ms
HOP_LENGTH = 160  # 10 ms: 100 mel frames per second
N_MELS = 80
POWER_FLOOR = 1e-10
DYNAMIC_RANGE_LOG10 = 8.0  # Whisper keeps the loudest 80 dB of a window
DIM = 384  # tiny.en
HEADS = 6
MAX_FRAMES = 1500  # rows of the position table: 30 s at 50 frames per second


def log10_mel(waveform_16k: Tensor) -> Tensor:
    """Log10 of the mel power spectrogram, before Whisper's scaling.

    ``(batch, samples)`` at 16 kHz to ``(batch, 80, samples // 160 + 1)``; frame ``j`` is centred on sample
    ``160 * j``, the signal being reflected at its ends (Slaney mel bands, periodic Hann window of 400).
    """
    # Reflection needs more than 200 samples; below that the signal is followed by silence.
    samples = waveform_16k.shape[-1]
    audible = F.pad(waveform_16k, (0, max(0, N_FFT // 2 + 1 - samples)))
    window = torch.hann_window(N_FFT, device=waveform_16k.device)
    spectrum = torch.stft(audible, N_FFT, HOP_LENGTH, window=window, center=True, return_complex=True)
    power = spectrum.abs().square()[..., : samples // HOP_LENGTH + 1]
    return (_mel_bands(power.device).to(power) @ power).clamp_min(POWER_FLOOR).log10()


@lru_cache(maxsize=4)
def _mel_bands(device: torch.device) -> Tensor:
    """Slaney's mel bands ``(80, 201)``, made and moved once."""
    with torch.inference_mode(False):  # what is kept must serve outside of inference mode as well
        bands = mel_filters(
            sample_rate=SAMPLE_RATE,
            n_fft=N_FFT,
            n_mels=N_MELS,
            f_min_hz=0,
            f_max_hz=SAMPLE_RATE / 2,
            htk=False,
        )
        return torch.from_numpy(bands).to(device)


def scale_log_mel(log10_power: Tensor, loudest: Tensor) -> Tensor:
    """Whisper's scaling of :func:`log10_mel`: 80 dB below ``loudest`` is the floor.

    ``(batch, 80, mel_frames)`` to the same, about -1 to 1 for speech. ``loudest`` ``(batch, 1, 1)`` is the
    highest value of each item; Whisper takes that of the 30 s window.
    """
    return (torch.maximum(log10_power, loudest - DYNAMIC_RANGE_LOG10) + 4.0) / 4.0


class _SelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, hidden: Tensor, seen: Tensor | None) -> Tensor:
        stacked = self.query_key_value(hidden).unflatten(2, (3, self.heads, self.head_dim))
        query, key, value = stacked.permute(2, 0, 3, 1, 4)  # each (batch, heads, frames, head_dim)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        mixed: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return mixed


class _Layer(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = _SelfAttention(dim, heads)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)

    def forward(self, hidden: Tensor, seen: Tensor | None) -> Tensor:
        hidden = hidden + self.attention(self.attention_norm(hidden), seen)
        expanded = F.gelu(self.expand(self.feed_forward_norm(hidden)))
        summed: Tensor = hidden + self.contract(expanded)
        return summed


class WhisperEncoder(nn.Module):
    """The first ``layer_count`` layers of an encoder of Whisper's shape, without the final norm."""

    def __init__(self, layer_count: int, *, dim: int = DIM, heads: int = HEADS) -> None:
        super().__init__()
        self.convolution_1 = nn.Conv1d(N_MELS, dim, 3, padding=1)
        self.convolution_2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(MAX_FRAMES, dim))
        self.layers = nn.ModuleList(_Layer(dim, heads) for _ in range(layer_count))

    def forward(self, log_mel: Tensor, valid: Valid = None) -> Tensor:
        """``(batch, 80, mel_frames)`` scaled log-mel to ``(batch, ceil(mel_frames / 2), dim)``.

        At most 3000 mel frames, because the position table ends there. Frame ``i`` is centred on
        mel frame ``2 * i``. ``valid`` holds the frames of each item of a padded batch, each with twice as
        many mel frames and zeros behind; frames behind an item's end hold anything.
        """
        frames = math.ceil(log_mel.shape[-1] / 2)
        if frames > MAX_FRAMES:
            raise ValueError(f"{frames} frames are more than the {MAX_FRAMES} positions of the encoder")
        hidden = F.gelu(self.convolution_1(log_mel))
        hidden = F.gelu(self.convolution_2(hidden)).transpose(1, 2)
        hidden = hidden + self.positions[: hidden.shape[1]]
        seen = None
        if valid is not None:
            seen = clear_tails(hidden.new_ones(len(hidden), 1, 1, frames, dtype=torch.bool), valid)
        for layer in self.layers:
            hidden = layer(hidden, seen)
        return hidden
