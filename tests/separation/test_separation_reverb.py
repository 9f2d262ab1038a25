from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from separation_material import SONG_NAMES, SONG_RATE, load_stems, sdr_db
from ultimate_rvc.separation import remove_reverb

EARLY_SAMPLES = round(0.06 * SONG_RATE)
FloatArray = NDArray[np.float32]


def room_response(decay_seconds: float, direct_to_reverb_db: float) -> NDArray[np.float64]:
    """A direct sound and exponentially decaying noise, the textbook diffuse room."""
    times = np.arange(2 * SONG_RATE) / SONG_RATE
    tail = np.random.default_rng(0).standard_normal(times.size) * 10 ** (-3 * times / decay_seconds)
    tail[: round(0.002 * SONG_RATE)] = 0
    tail *= 10 ** (-direct_to_reverb_db / 20) / np.sqrt((tail**2).sum())
    tail[0] = 1
    return tail


def in_room(voice: FloatArray, decay_seconds: float) -> tuple[FloatArray, FloatArray]:
    """The voice in the room, and with the room's early part only."""
    response = room_response(decay_seconds, 3.0)
    early = response.copy()
    early[EARLY_SAMPLES:] = 0
    wet, target = (fftconvolve(voice, part[None], axes=1)[:, : voice.shape[1]] for part in (response, early))
    return wet.astype(np.float32), target.astype(np.float32)


def frame_power(signal: FloatArray) -> NDArray[np.float64]:
    whole = signal.shape[1] // 2048 * 2048
    power: NDArray[np.float64] = (signal[0, :whole].astype(np.float64).reshape(-1, 2048) ** 2).mean(axis=1)
    return power


@pytest.mark.parametrize("name", SONG_NAMES)
def test_late_reverb_is_weakened_where_the_voice_pauses(name: str) -> None:
    vocals, _ = load_stems(name)
    voice = np.pad(vocals, ((0, 0), (0, SONG_RATE)))
    wet, target = in_room(voice, 1.0)
    parts = remove_reverb(wet, SONG_RATE, model="dsp")
    pauses = frame_power(target) < frame_power(target).max() * 1e-4
    assert pauses.sum() > 10
    kept = frame_power(parts.dry)[pauses].sum() / frame_power(wet)[pauses].sum()
    assert 10 * np.log10(kept) < -2.5
    assert sdr_db(target, parts.dry) > sdr_db(target, wet) + 1.0
    np.testing.assert_allclose(parts.dry + parts.reverb, wet, atol=1e-6)


@pytest.mark.parametrize("name", SONG_NAMES)
def test_a_dry_voice_stays_as_it_is(name: str) -> None:
    vocals, _ = load_stems(name)
    parts = remove_reverb(vocals, SONG_RATE, model="dsp")
    assert sdr_db(vocals, parts.dry) > 20.0


def test_stereo_keeps_its_picture() -> None:
    vocals, _ = load_stems("thunder")
    wet, _ = in_room(vocals, 1.0)
    panned = np.concatenate([wet, np.float32(0.5) * wet])
    dry = remove_reverb(panned, SONG_RATE, model="dsp").dry
    np.testing.assert_allclose(dry[1], 0.5 * dry[0], atol=1e-5)
