"""CBHG: a bank of convolutions, highway layers and a bidirectional GRU.

Wang et al., "Tacotron: Towards End-to-End Speech Synthesis" (2017), section 3.1. Names of layers are those of
MockingBird's checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.speech.mockingbird.masks import Lengths, run_recurrent, valid_mask


class NormalizedConvolution(nn.Module):
    """A convolution, perhaps a ReLU, then batch norm; (batch, inputs, steps) to (batch, outputs, steps)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bnorm = nn.BatchNorm1d(outputs)
        self.relu = relu

    def forward(self, signal: Tensor) -> Tensor:
        # Even kernels make one step too many.
        hidden = self.conv(signal)[..., : signal.shape[-1]]
        output: Tensor = self.bnorm(F.relu(hidden) if self.relu else hidden)
        return output


class Highway(nn.Module):
    """A layer that decides for each channel how much to let through unchanged; (..., channels) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.W1 = nn.Linear(channels, channels)
        self.W2 = nn.Linear(channels, channels)

    def forward(self, signal: Tensor) -> Tensor:
        gate = torch.sigmoid(self.W2(signal))
        return signal + gate * (F.relu(self.W1(signal)) - signal)


class CBHG(nn.Module):
    """(batch, inputs, steps) to (batch, steps, channels)."""

    def __init__(
        self, *, kernels: int, inputs: int, channels: int, projections: tuple[int, int], highways: int
    ) -> None:
        super().__init__()
        self.conv1d_bank = nn.ModuleList(
            NormalizedConvolution(inputs, channels, size) for size in range(1, kernels + 1)
        )
        self.conv_project1 = NormalizedConvolution(kernels * channels, projections[0], 3)
        self.conv_project2 = NormalizedConvolution(projections[0], projections[1], 3, relu=False)
        self.pre_highway = (
            nn.Linear(projections[1], channels, bias=False) if projections[1] != channels else nn.Identity()
        )
        self.highways = nn.ModuleList(Highway(channels) for _ in range(highways))
        self.rnn = nn.GRU(channels, channels // 2, batch_first=True, bidirectional=True)

    def forward(self, signal: Tensor, lengths: Lengths = None) -> Tensor:
        mask = valid_mask(lengths, signal.shape[-1], signal)

        def cleared(hidden: Tensor) -> Tensor:
            return hidden if mask is None else hidden * mask[:, None]

        signal = cleared(signal)
        bank = torch.cat([convolution(signal) for convolution in self.conv1d_bank], dim=1)
        # Each step and the one before it: nothing reaches back from behind an end.
        pooled = F.max_pool1d(bank, 2, stride=1, padding=1)[..., : signal.shape[-1]]
        hidden = self.conv_project2(cleared(self.conv_project1(cleared(pooled)))) + signal
        hidden = self.pre_highway(hidden.transpose(1, 2))
        for highway in self.highways:
            hidden = highway(hidden)
        return run_recurrent(self.rnn, hidden, lengths)
