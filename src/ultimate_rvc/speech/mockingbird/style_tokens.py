"""Global style tokens: a manner of speaking, as attention of the speaker over a few learnt vectors.

Wang et al., "Style Tokens" (2018). MockingBird gives the reference encoder no spectrogram but a vector of zeros
as long as the speaker's embedding when it reads, and asks with what comes out and the embedding itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ReferenceEncoder(nn.Module):
    """Convolutions that halve the rows of a picture, then a GRU; (batch, columns) to (batch, channels)."""

    def __init__(self, columns: int, filters: Sequence[int], channels: int) -> None:
        super().__init__()
        widths = [1, *filters]
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
            for inputs, outputs in zip(widths, filters, strict=False)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(outputs) for outputs in filters)
        left = columns
        for _ in filters:
            left = (left + 1) // 2
        self.gru = nn.GRU(filters[-1] * left, channels, batch_first=True)

    def forward(self, picture: Tensor) -> Tensor:
        hidden = picture[:, None, None]  # one row: (batch, 1, 1, columns)
        for convolution, norm in zip(self.convs, self.bns, strict=True):
            hidden = F.relu(norm(convolution(hidden)))
        rows = hidden.transpose(1, 2).flatten(2)
        last: Tensor = self.gru(rows)[1]
        return last[0]


class TokenAttention(nn.Module):
    """Attention with several heads, without a projection of its output."""

    def __init__(self, query_width: int, key_width: int, width: int) -> None:
        super().__init__()
        self.W_query = nn.Linear(query_width, width, bias=False)
        self.W_key = nn.Linear(key_width, width, bias=False)
        self.W_value = nn.Linear(key_width, width, bias=False)
        self.head_width = key_width

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """``query`` (batch, query_width) and ``keys`` (tokens, key_width) to (batch, width)."""

        def heads(projected: Tensor) -> Tensor:
            split = projected.reshape(len(projected), -1, self.head_width)
            return split.transpose(0, 1)  # (heads, rows, head_width)

        queries, values = heads(self.W_query(query)), heads(self.W_value(keys))
        scores = queries @ heads(self.W_key(keys)).transpose(1, 2) / math.sqrt(self.head_width)
        return (torch.softmax(scores, dim=-1) @ values).transpose(0, 1).flatten(1)


class StyleTokenLayer(nn.Module):
    """The tokens and the attention over them; (batch, query_width) to (batch, width)."""

    def __init__(self, query_width: int, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.zeros(tokens, width // heads))
        self.attention = TokenAttention(query_width, width // heads, width)

    def forward(self, query: Tensor) -> Tensor:
        style: Tensor = self.attention(query, torch.tanh(self.embed))
        return style


class GlobalStyleTokens(nn.Module):
    """A speaker's embedding (batch, speaker_width) to its style (batch, width)."""

    def __init__(
        self, *, speaker_width: int, filters: Sequence[int], reference_width: int, query_width: int,
        tokens: int, width: int, heads: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = ReferenceEncoder(speaker_width, filters, reference_width)
        self.stl = StyleTokenLayer(query_width, tokens, width, heads)
        self.asks_with_speaker = query_width > reference_width

    def forward(self, speaker: Tensor) -> Tensor:
        heard = self.encoder(torch.zeros_like(speaker))
        style: Tensor = self.stl(torch.cat([heard, speaker], dim=1) if self.asks_with_speaker else heard)
        return style
