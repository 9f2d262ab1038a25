"""Tacotron's decoder: attention along the text, and two residual LSTM layers that make the next frames.

Wang et al. (2017) and Chorowski et al., "Attention-Based Models for Speech Recognition" (2015) for the attention
that knows where it has been. Names of layers are those of MockingBird's checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_FRAMES_A_STEP = 20  # MockingBird's layer makes so many and uses the first ``r``
DRAWN_STEPS = 64  # dropout of so many steps is drawn at once


class Dropout:
    """Dropout of one half for a batch in which each item has the numbers that it has alone.

    Tacotron keeps the dropout of its pre-nets when it reads: without it the speech is flat.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw(self, lengths: Sequence[int], width: int, like: Tensor) -> Tensor:
        """Factors 0 or 2, (batch, longest, width), on the device and in the dtype of ``like``."""
        factors = torch.zeros(len(lengths), max(lengths), width)
        for item, (length, generator) in enumerate(zip(lengths, self._generators, strict=True)):
            factors[item, :length] = 2.0 * (torch.rand(length, width, generator=generator) < 0.5)
        return factors.to(like)


class PreNet(nn.Module):
    """Two layers with a ReLU and dropout each."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, width)
        self.fc2 = nn.Linear(width, width)
        self.drawn_width = 2 * width

    def forward(self, signal: Tensor, factors: Tensor) -> Tensor:
        """``factors`` (..., 2 * width) are from :class:`Dropout`, for both layers."""
        first, second = factors.chunk(2, dim=-1)
        hidden = F.relu(self.fc1(signal)) * first
        return F.relu(self.fc2(hidden)) * second


class LocationAttention(nn.Module):
    """Attention by content and by all attention so far."""

    def __init__(self, width: int, kernel: int = 31, filters: int = 32) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, filters, kernel, padding=kernel // 2)
        self.L = nn.Linear(filters, width, bias=False)
        self.W = nn.Linear(width, width)
        self.v = nn.Linear(width, 1, bias=False)

    def forward(self, keys: Tensor, query: Tensor, cumulative: Tensor, hidden_text: Tensor | None) -> Tensor:
        """Weights (batch, symbols): of ``keys`` (batch, symbols, width) for ``query`` (batch, width).

        ``cumulative`` (batch, symbols) is the sum of the weights so far; ``hidden_text`` is true where an item has
        no symbols any more.
        """
        location = self.L(self.conv(cumulative[:, None]).transpose(1, 2))
        energies = self.v(torch.tanh(self.W(query)[:, None] + keys + location))[..., 0]
        if hidden_text is not None:
            energies = energies.masked_fill(hidden_text, float("-inf"))
        return torch.softmax(energies, dim=1)


@dataclass
class DecoderState:
    """What the decoder remembers from step to step; every tensor has the batch first."""

    context: Tensor
    cumulative: Tensor
    attention: Tensor
    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Memory:
    """The text as the decoder sees it: (batch, symbols, channels), its keys, and where an item has ended."""

    values: Tensor
    keys: Tensor
    hidden: Tensor | None


class Decoder(nn.Module):
    """One step at a time: the last frame, the memory of the text and the state to the next ``r`` frames."""

    r: Tensor

    def __init__(self, *, mels: int, memory: int, width: int, lstm: int) -> None:
        super().__init__()
        self.register_buffer("r", torch.tensor(1, dtype=torch.int))
        self.mels = mels
        self.prenet = PreNet(mels, 2 * width)
        self.attn_net = LocationAttention(width)
        self.attn_rnn = nn.GRUCell(memory + 2 * width, width)
        self.rnn_input = nn.Linear(memory + width, lstm)
        self.res_rnn1 = nn.LSTMCell(lstm, lstm)
        self.res_rnn2 = nn.LSTMCell(lstm, lstm)
        self.mel_proj = nn.Linear(lstm, mels * MOST_FRAMES_A_STEP, bias=False)
        self.stop_proj = nn.Linear(memory + lstm, 1)
        self.width, self.lstm = width, lstm

    def start(self, memory: Memory) -> DecoderState:
        """The state before the first step."""
        batch, symbols, channels = memory.values.shape

        def zeros(width: int) -> Tensor:
            return memory.values.new_zeros(batch, width)

        pair = (zeros(self.lstm), zeros(self.lstm))
        return DecoderState(zeros(channels), zeros(symbols), zeros(self.width), pair, pair)

    def forward(
        self, frame: Tensor, factors: Tensor, memory: Memory, state: DecoderState, frames: int
    ) -> tuple[Tensor, Tensor]:
        """The next frames (batch, mels, frames) and the logit of the end (batch,); ``state`` goes on."""
        heard = torch.cat([state.context, self.prenet(frame, factors)], dim=1)
        state.attention = self.attn_rnn(heard, state.attention)
        weights = self.attn_net(memory.keys, state.attention, state.cumulative, memory.hidden)
        state.cumulative = state.cumulative + weights
        state.context = (weights[:, None] @ memory.values)[:, 0]
        hidden = self.rnn_input(torch.cat([state.context, state.attention], dim=1))
        state.first = self.res_rnn1(hidden, state.first)
        hidden = hidden + state.first[0]
        state.second = self.res_rnn2(hidden, state.second)
        hidden = hidden + state.second[0]
        made = self.mel_proj(hidden).reshape(len(hidden), self.mels, -1)[..., :frames]
        ending: Tensor = self.stop_proj(torch.cat([hidden, state.context], dim=1))
        return made, ending[:, 0]
