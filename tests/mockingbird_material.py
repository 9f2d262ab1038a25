"""Small MockingBird networks whose weights are the same everywhere, and what the originals made with them.

``tests/data/mockingbird/reference.npz`` was made once by the modules of babysor/MockingBird (MIT, commit 712a53f, its
published files typed out for one run) with :func:`numbered` weights:

- ``mel``: ``Tacotron`` with the sizes of ``SMALL_SYNTHESIZER``, its dropout taken out, ``SYMBOLS`` and ``VOICE``,
  style -1, 60 frames whatever it thinks of the end: what its ``generate`` returns as ``linear``.
- ``gan``: HiFi-GAN's ``Generator`` with the sizes of ``SMALL_HIFI_GAN``, weight norm removed, for ``MEL``.
- ``rnn``: ``WaveRNN.generate``, not batched, with the sizes of ``SMALL_WAVE_RNN``, for ``MEL / 4``, the most likely
  class for a drawn one, mu-law decoded and de-emphasised, without the fade at the end.

``synthesizer.json`` holds name and shape of each tensor of ``Tacotron(...).state_dict()`` with the usual hparams.
``embeddings.npz`` is Resemblyzer's, by ``scripts/oracles/mockingbird_reference.py``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import recordings
from mockingbird_models import Network

FloatArray = NDArray[np.float32]

DATA = Path(__file__).resolve().parent / "data" / "mockingbird"
SYMBOLS = [3, 9, 20, 60, 12, 44, 5, 1]
VOICE = np.linspace(0, 1, 256, dtype=np.float32) / np.linalg.norm(np.linspace(0, 1, 256)).astype(np.float32)
MEL = (2 * np.sin(np.arange(10)[:, None] + 0.7 * np.arange(9))).astype(np.float32)
RECORDINGS: Mapping[str, Callable[[], FloatArray]] = {
    "speech": lambda: recordings.speech(16_000),
    "water": lambda: recordings.singing("water", 16_000),
    "thunder": lambda: recordings.singing("thunder", 16_000),
}


def numbered(build: Callable[[], Network], strength: float = 2.0) -> Network:
    """What ``build`` makes, with weights that depend on nothing but their names and shapes."""
    network = build()
    state = {name: _numbers(name, tensor, strength) for name, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _numbers(name: str, tensor: Tensor, strength: float) -> Tensor:
    if not tensor.is_floating_point() or name == "stop_threshold":
        return torch.full_like(tensor, 2) if name.endswith("decoder.r") else tensor
    drawn = np.random.default_rng(zlib.crc32(name.encode())).normal(size=tuple(tensor.shape))
    if name.endswith("running_var"):
        return torch.from_numpy(0.5 + np.abs(drawn)).float()
    spread = strength / np.sqrt(max(1, tensor[0].numel())) if tensor.dim() > 1 else 0.1
    return torch.from_numpy(spread * drawn).float()


def reference(name: str) -> Mapping[str, FloatArray]:
    """What the originals made: the arrays of ``reference`` or ``embeddings``."""
    with np.load(DATA / f"{name}.npz") as arrays:
        return dict(arrays)
