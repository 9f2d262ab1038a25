"""What one training step is given: pieces of the dataset, padded to one length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class Example:
    """One piece of the dataset; every curve has the same number of ``frames``, 100 per second.

    ``features`` (frames, phone_dim) are the content features, each of the encoder's 50 per second twice;
    ``pitch`` (frames,) the coarse pitch 1..255 and ``f0_hz`` (frames,) the pitch in Hz, 0 = unvoiced (None
    for a voice without f0); ``spectrogram`` (frames, spec_channels) linear magnitudes; ``waveform``
    (frames * hop_length,) samples in [-1, 1]; ``speaker`` the row of the speaker table.
    """

    features: Tensor
    pitch: Tensor | None
    f0_hz: Tensor | None
    spectrogram: Tensor
    waveform: Tensor
    speaker: int

    @property
    def frames(self) -> int:
        return self.spectrogram.shape[0]


@dataclass(frozen=True)
class Batch:
    """Examples of one step, padded with zeros behind their ends.

    ``features`` (batch, frames, phone_dim), ``pitch`` and ``f0_hz`` (batch, frames) or None,
    ``spectrogram`` (batch, spec_channels, frames), ``waveform`` (batch, 1, frames * hop_length),
    ``lengths`` and ``speaker`` (batch,) int64.
    """

    features: Tensor
    pitch: Tensor | None
    f0_hz: Tensor | None
    spectrogram: Tensor
    waveform: Tensor
    lengths: Tensor
    speaker: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Self:
        """Pad ``examples`` to the longest of them; the collate function of the loader."""

        def padded(name: str) -> Any:
            curves = [getattr(example, name) for example in examples]
            return None if curves[0] is None else pad_sequence(curves, batch_first=True)

        return cls(
            features=padded("features"),
            pitch=padded("pitch"),
            f0_hz=padded("f0_hz"),
            spectrogram=padded("spectrogram").transpose(1, 2),
            waveform=padded("waveform")[:, None],
            lengths=torch.tensor([example.frames for example in examples]),
            speaker=torch.tensor([example.speaker for example in examples]),
        )

    def to(self, device: torch.device | str) -> Self:
        """The batch on ``device``; from pinned memory the copies do not wait for each other."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The batch with ``change`` made to every tensor of it, which may have any shape."""
        changed: dict[str, Any] = {
            name: None if tensor is None else change(tensor) for name, tensor in vars(self).items()
        }
        return type(self)(**changed)
