"""The network of FCPE: convolutions over a log-mel spectrogram, 360 pitch bins.

Written after ``CFNaiveMelPE`` of the package ``torchfcpe`` (CNChTu, MIT) without attention, which is what the
weights in that package are for; module names follow their file. Importing the package itself would take
librosa, scipy and numba along, seconds before the first sample.

Shapes: ``b`` batch, ``t`` frames, ``c`` channels.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL_FRAMES = 31
GROUPS = 4
CONFORMER_EXPANSION = 2


class Transposed(nn.Module):
    """``(b, t, c)`` to ``(b, c, t)`` and back."""

    def forward(self, frames: Tensor) -> Tensor:
        return frames.transpose(1, 2)


class DepthwiseConv(nn.Conv1d):
    """A convolution of each channel by itself; ``(b, c, t)`` to the same.

    oneDNN has a fast way for planes whose channels lie beside each other, and no fast one for lines: seven times
    as long for the same numbers, a third of the whole network.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)

    def forward(self, frames: Tensor) -> Tensor:
        if frames.device.type != "cpu":
            return super().forward(frames)
        planes = frames[..., None].contiguous(memory_format=torch.channels_last)
        padding = (self.kernel_size[0] // 2, 0)
        convolved = F.conv2d(planes, self.weight[..., None], self.bias, padding=padding, groups=self.groups)
        return convolved[..., 0]


class ConformerLayer(nn.Module):
    """The convolution module of a conformer, added to its input; ``(b, t, c)`` to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = CONFORMER_EXPANSION * width
        depthwise = DepthwiseConv(inner, KERNEL_FRAMES)
        layers = nn.Sequential(
            nn.LayerNorm(width),
            Transposed(),
            nn.Conv1d(width, 2 * inner, 1),
            nn.GLU(dim=1),
            nn.Sequential(OrderedDict(conv=depthwise)),
            nn.SiLU(),
            nn.Conv1d(inner, width, 1),
            Transposed(),
        )
        self.conformer = nn.Sequential(OrderedDict(net=layers))

    def forward(self, frames: Tensor) -> Tensor:
        convolved: Tensor = self.conformer(frames)
        return frames + convolved


class FCPENetwork(nn.Module):
    """Salience of pitch bins for each frame of a log-mel spectrogram."""

    def __init__(self, n_mels: int, width: int, n_layers: int, pitch_bins: int) -> None:
        super().__init__()
        self.input_stack = nn.Sequential(
            nn.Conv1d(n_mels, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width),
            nn.LeakyReLU(),
            nn.Conv1d(width, width, 3, padding=1),
        )
        layers = nn.ModuleList(ConformerLayer(width) for _ in range(n_layers))
        self.net = nn.Sequential(OrderedDict(encoder_layers=nn.Sequential(*layers)))
        self.norm = nn.LayerNorm(width)
        self.output_proj = nn.Linear(width, pitch_bins)

    def salience(self, hidden: Tensor) -> Tensor:
        """``(b, t, c)`` behind the input stack to ``(b, t, bins)``, 0 to 1."""
        salience: Tensor = self.output_proj(self.norm(self.net(hidden)))
        return salience.sigmoid()

    def forward(self, log_mel: Tensor) -> Tensor:
        """``(b, mels, t)`` to ``(b, t, bins)``, 0 to 1."""
        return self.salience(self.input_stack(log_mel).transpose(1, 2))
