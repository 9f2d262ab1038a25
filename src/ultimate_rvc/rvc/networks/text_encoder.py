"""The prior encoder (``enc_p``): content features and coarse pitch to the latent's mean and spread."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultimate_rvc.rvc.networks.config import SynthesizerConfig

PITCH_BINS = 256  # coarse pitch 1..255; 0 is unused but has a row
RELATIVE_WINDOW = 10  # frames to either side for which attention knows the exact distance
INPUT_SLOPE = 0.1
QUERY_BLOCK = 512  # rows of the attention matrix held at once: memory grows with T, not with T^2


class TextEncoder(nn.Module):
    """Features (and coarse pitch) to mean and log standard deviation of the prior."""

    def __init__(self, config: SynthesizerConfig, *, has_f0: bool) -> None:
        super().__init__()
        self.emb_phone = nn.Linear(config.phone_dim, config.hidden_channels)
        self.emb_pitch = nn.Embedding(PITCH_BINS, config.hidden_channels) if has_f0 else None
        self.encoder = Transformer(config)
        self.proj = nn.Conv1d(config.hidden_channels, 2 * config.inter_channels, 1)
        self.input_scale = math.sqrt(config.hidden_channels)

    def forward(self, features: Tensor, pitch: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation, each (batch, inter_channels, frames).

        ``features`` (batch, frames, phone_dim), ``pitch`` (batch, frames) of 1 to 255 and ``mask``
        (batch, 1, frames).
        """
        hidden = self.emb_phone(features)
        if self.emb_pitch is not None:
            hidden = hidden + self.emb_pitch(pitch)
        hidden = F.leaky_relu(hidden * self.input_scale, INPUT_SLOPE).transpose(1, 2)
        stats = _masked(self.proj(self.encoder(hidden, mask)), mask)
        mean, log_deviation = stats.chunk(2, dim=1)
        return mean, log_deviation


class Transformer(nn.Module):
    """Post-norm transformer over (batch, channels, frames)."""

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        channels = config.hidden_channels
        self.attn_layers = nn.ModuleList(
            RelativeAttention(channels, config.heads) for _ in range(config.layers)
        )
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(channels) for _ in range(config.layers))
        self.ffn_layers = nn.ModuleList(
            FeedForward(channels, config.filter_channels, config.kernel_size) for _ in range(config.layers)
        )
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(channels) for _ in range(config.layers))

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        hidden = _masked(hidden, mask)
        layers = zip(self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2, strict=True)
        for attention, attention_norm, feed_forward, feed_forward_norm in layers:
            hidden = attention_norm(hidden + attention(hidden, mask))
            hidden = feed_forward_norm(hidden + feed_forward(hidden, mask))
        return _masked(hidden, mask)


class RelativeAttention(nn.Module):
    """Self-attention over (batch, channels, frames) with learned vectors for distances within the window.

    Shaw et al., "Self-Attention with Relative Position Representations" (2018), heads sharing
    one table. Only the band of ``RELATIVE_WINDOW`` frames to either side gets the extra terms, and the matrix is
    worked through in blocks of rows.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.in_one_piece = False  # for exports: the number of blocks would be that of one length
        self.heads = heads
        self.head_channels = channels // heads
        table_shape, scale = (1, 2 * RELATIVE_WINDOW + 1, self.head_channels), self.head_channels**-0.5
        self.emb_rel_k = nn.Parameter(torch.randn(table_shape) * scale)
        self.emb_rel_v = nn.Parameter(torch.randn(table_shape) * scale)
        self.conv_q, self.conv_k, self.conv_v, self.conv_o = (
            nn.Conv1d(channels, channels, 1) for _ in range(4)
        )

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        batch, channels, frames = hidden.shape
        query = self._split_heads(self.conv_q(hidden)) * self.head_channels**-0.5
        # Keys and values get a margin of one window, so that every row has a full band.
        key = F.pad(self._split_heads(self.conv_k(hidden)), (0, 0, RELATIVE_WINDOW, RELATIVE_WINDOW))
        value = F.pad(self._split_heads(self.conv_v(hidden)), (0, 0, RELATIVE_WINDOW, RELATIVE_WINDOW))
        hidden_keys = self._hidden_keys(hidden, mask)
        starts = [0] if self.in_one_piece else range(0, frames, QUERY_BLOCK)
        rows = [
            self._attend(
                query if self.in_one_piece else query[:, :, start : start + QUERY_BLOCK],
                start, key, value, hidden_keys,
            )
            for start in starts
        ]  # fmt: skip
        attended = torch.cat(rows, dim=2).transpose(2, 3).reshape(batch, channels, frames)
        output: Tensor = self.conv_o(attended)
        return output

    def _split_heads(self, hidden: Tensor) -> Tensor:
        """(batch, channels, frames) to (batch, heads, frames, head_channels)."""
        batch, _, frames = hidden.shape
        return hidden.reshape(batch, self.heads, self.head_channels, frames).transpose(2, 3)

    def _hidden_keys(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """True for the keys that no row may see: the margin and what lies behind an item's end."""
        inside = torch.ones_like(hidden[:, :1]) if mask is None else mask
        return F.pad(inside, (RELATIVE_WINDOW, RELATIVE_WINDOW))[:, None] == 0

    def _attend(self, query: Tensor, start: int, key: Tensor, value: Tensor, hidden_keys: Tensor) -> Tensor:
        scores = query @ key.transpose(2, 3)
        scores += _banded(query @ self.emb_rel_k[0].T, start, scores.shape[3])
        weights = torch.softmax(scores.masked_fill_(hidden_keys, -torch.inf), dim=-1)
        return weights @ value + _band_of(weights, start) @ self.emb_rel_v[0]


def _banded(band: Tensor, start: int, columns: int) -> Tensor:
    """A matrix that is zero but for a diagonal band: row i and distance r meet in column start + i + r.

    ``(batch, heads, rows, distances)`` to ``(batch, heads, rows, columns)``. Rows that are one too long and lie
    behind one another in memory are, cut anew, rows that each begin one place later: so nothing is scattered.
    """
    rows, distances = band.shape[2:]
    rest = band.new_zeros(*band.shape[:3], columns + 1 - distances - start)
    long = torch.cat((F.pad(band, (start, 0)), rest), dim=3)
    return long.flatten(2)[:, :, : rows * columns].reshape(*band.shape[:2], rows, columns)


def _band_of(matrix: Tensor, start: int) -> Tensor:
    """The band that ``_banded`` puts into a matrix: ``(batch, heads, rows, columns)`` to ``(..., distances)``."""
    rows, columns = matrix.shape[2:]
    rest = matrix.new_zeros(*matrix.shape[:2], rows)
    long = torch.cat((matrix.flatten(2), rest), dim=2).reshape(*matrix.shape[:2], rows, columns + 1)
    return long[..., start : start + 2 * RELATIVE_WINDOW + 1]


class FeedForward(nn.Module):
    """Two convolutions over time with a ReLU between them: (batch, channels, frames) to the same."""

    def __init__(self, channels: int, filter_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(channels, filter_channels, kernel_size)
        self.conv_2 = nn.Conv1d(filter_channels, channels, kernel_size)
        self.margin = ((kernel_size - 1) // 2, kernel_size // 2)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        hidden = torch.relu(self.conv_1(F.pad(_masked(hidden, mask), self.margin)))
        output: Tensor = self.conv_2(F.pad(_masked(hidden, mask), self.margin))
        return output


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (batch, channels, frames)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, hidden: Tensor) -> Tensor:
        normed = F.layer_norm(hidden.transpose(1, 2), self.gamma.shape, self.gamma, self.beta)
        return normed.transpose(1, 2)


def _masked(hidden: Tensor, mask: Tensor | None) -> Tensor:
    return hidden if mask is None else hidden * mask
