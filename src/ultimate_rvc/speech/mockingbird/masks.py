"""Items of unequal length in one batch: what lies behind the end of an item must not reach it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Lengths = Sequence[int] | None
"""Of each item; ``None`` where all fill the batch."""


def valid_mask(lengths: Lengths, steps: int, like: Tensor) -> Tensor | None:
    """1 inside each item and 0 behind its end, (batch, steps), or None where there is nothing behind."""
    if lengths is None or min(lengths) == steps:
        return None
    ends = torch.tensor(lengths, device=like.device)
    return (torch.arange(steps, device=like.device) < ends[:, None]).to(like.dtype)


def run_recurrent(layer: nn.GRU, sequence: Tensor, lengths: Lengths) -> Tensor:
    """The outputs (batch, steps, channels) of a recurrent layer whose way back begins at the end of each item."""
    if lengths is None or min(lengths) == sequence.shape[1]:
        output: Tensor = layer(sequence)[0]
        return output
    packed = pack_padded_sequence(sequence, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=sequence.shape[1])[0]
