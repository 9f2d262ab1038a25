"""Weights and a batch for the comparison of trainings, made alike by the tests and by the reference's script.

Only numpy's frozen ``RandomState`` is asked, one stream per name, so that neither weights nor inputs need be
kept: ``scripts/oracles/training_reference.py`` keeps what an independent implementation makes of them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

# name: (version, sample rate, spec channels, rates, kernels)
ARCHITECTURES = {
    "v1_32k": ("v1", 32000, 513, (10, 4, 2, 2, 2), (16, 16, 4, 4, 4)),
    "v1_40k": ("v1", 40000, 1025, (10, 10, 2, 2), (16, 16, 4, 4)),
    "v1_48k": ("v1", 48000, 1025, (10, 6, 2, 2, 2), (16, 16, 4, 4, 4)),
    "v2_32k": ("v2", 32000, 513, (10, 8, 2, 2), (20, 16, 4, 4)),
    "v2_40k": ("v2", 40000, 1025, (10, 10, 2, 2), (16, 16, 4, 4)),
    "v2_48k": ("v2", 48000, 1025, (12, 10, 2, 2), (24, 20, 4, 4)),
}
PHONE_DIM = {"v1": 256, "v2": 768}
SPEAKERS = 3
LENGTHS = (36, 27)  # frames of the two items; more than the attention's window of 10 to either side
SEGMENT_FRAMES = 10
JUDGED_SAMPLES = 4001  # no multiple of any period

# Of long outputs every so many values are kept.
WAVEFORM_STEP = 11
FRAME_STEP = 4
MAP_STEP = 997


def small_config(name: str) -> list[object]:
    """The config list of a voice with few channels and the real rates."""
    _, sample_rate, spec_channels, rates, kernels = ARCHITECTURES[name]
    return [
        *(spec_channels, SEGMENT_FRAMES, 8, 8, 16, 2, 3, 3, 0, "1"),
        *([3, 7, 11], [[1, 3, 5]] * 3, list(rates), 2 ** len(rates), list(kernels), SPEAKERS, 6, sample_rate),
    ]


def uniform(name: str, shape: tuple[int, ...]) -> FloatArray:
    """Values in [-1, 1) that depend on the name alone."""
    numbers = np.random.RandomState(zlib.crc32(name.encode()))
    return (2 * numbers.random_sample(shape) - 1).astype(np.float32)


def seeded_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, FloatArray]:
    """Weights under which no layer dies out or explodes, so that each is heard in the output."""
    return {name: _weights(name, shape) for name, shape in shapes.items()}


def _weights(name: str, shape: tuple[int, ...]) -> FloatArray:
    values = uniform(name, shape)
    if name.endswith("gamma"):
        return 1 + 0.2 * values
    if name.endswith(("bias", "beta")):
        return 0.1 * values
    if name.endswith("weight_g"):
        return _gain(name) * (1 + 0.2 * values)
    if name.endswith("l_linear.weight"):
        return np.full(shape, 5, np.float32)  # brings the sine of 0.1 up to 0.5
    if name.startswith("emb_g") or name == "enc_p.emb_pitch.weight":
        return values
    return np.float32(math.sqrt(3 / max(1, math.prod(shape[1:])))) * values


def _gain(name: str) -> np.float32:
    if name.startswith("dec.ups."):
        return np.float32(2)  # spread over as many samples as the stage makes of one
    return np.float32(0.7 if name.startswith("dec.") else 1.4 if name.startswith("discriminators.") else 1)


def drawn_batch(name: str) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    """Two items: features, pitch, f0 in Hz, spectrogram (batch, spec_channels, frames), lengths, speakers."""
    version, _, spec_channels, _, _ = ARCHITECTURES[name]
    frames, items = max(LENGTHS), len(LENGTHS)
    inside = np.arange(frames) < np.array(LENGTHS)[:, None]
    f0_hz = 180 * 2 ** uniform("f0", (items, frames)).cumsum(axis=1) * inside
    f0_hz[:, 15:18] = 0  # unvoiced
    return {
        "features": uniform("features", (items, frames, PHONE_DIM[version])) * 1.7 * inside[..., None],
        "pitch": np.where(inside, 128 + 127 * uniform("pitch", (items, frames)), 0).astype(np.int64),
        "f0_hz": np.clip(f0_hz, 0, 1100).astype(np.float32),
        "spectrogram": (1 + uniform("spectrogram", (items, spec_channels, frames))) * inside[:, None],
        "lengths": np.array(LENGTHS),
        "speaker": np.array([2, 1]),
    }


def judged_waveforms() -> tuple[FloatArray, FloatArray]:
    """A recording and a render to judge, each (2, 1, JUDGED_SAMPLES)."""
    shape = (2, 1, JUDGED_SAMPLES)
    return 0.5 * uniform("real", shape), 0.3 * uniform("fake", shape)
