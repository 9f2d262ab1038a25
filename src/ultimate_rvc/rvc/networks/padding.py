"""Batches of unequal length: what lies behind the end of an item must not reach its sound.

Alone, an item ends in the zero padding of its convolutions; in a batch it ends in whatever the
layers made of the padding. Clearing the tail before each convolution makes the two equal.
``valid`` holds the length of each item at the rate of the tensor, or is None when all are full.
"""

from __future__ import annotations

from torch import Tensor

Valid = tuple[int, ...] | None


def scaled(valid: Valid, rate: int) -> Valid:
    """Return the lengths after upsampling by ``rate``."""
    return None if valid is None else tuple(length * rate for length in valid)


def clear_tails(signal: Tensor, valid: Valid) -> Tensor:
    """Zero, in place, what lies behind each item's end in ``signal`` (batch, ..., time)."""
    if valid is not None:
        for item, length in enumerate(valid):
            signal[item, ..., length:] = 0
    return signal


def hold_ends(signal: Tensor, valid: Valid) -> Tensor:
    """Repeat, in place, each item's last value once behind its end in ``signal`` (batch, ..., time).

    Linear interpolation holds the last value at the end of a tensor; this makes it do so at the
    end of an item as well.
    """
    if valid is not None:
        for item, length in enumerate(valid):
            if length < signal.shape[-1]:
                signal[item, ..., length] = signal[item, ..., length - 1]
    return signal


def frame_mask(valid: Valid, frames: int, like: Tensor) -> Tensor | None:
    """Return 1 on frames inside each item and 0 behind, (batch, 1, frames), or None when all are full."""
    if valid is None:
        return None
    # Filled where it is, instead of compared with lengths that would have to be sent there.
    return clear_tails(like.new_ones(len(valid), 1, frames), valid)
