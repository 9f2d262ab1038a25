"""Music under a voice, and recordings that reach less far than their sample rate."""

from __future__ import annotations

import numpy as np
import pytest

from recordings import FloatArray, instruments, noise, singing, speech
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.rvc.train.bandwidth import bandwidth_hz
from ultimate_rvc.rvc.train.checks import MOST_LASTING_PARTIALS, measure
from ultimate_rvc.rvc.train.music import lasting_partials

SONGS = ("water", "thunder", "evening")


def mixed(voice: FloatArray, music: FloatArray, music_db: float) -> FloatArray:
    """The voice with music at so many dB of its own level."""
    music = np.resize(music, len(voice))
    gain = np.sqrt(np.mean(voice**2) / np.mean(music**2)) * 10 ** (music_db / 20)
    return np.asarray(voice + gain * music, np.float32)


@pytest.mark.parametrize("song", SONGS)
def test_dry_singing_has_no_music_under_it_and_the_song_has(song: str) -> None:
    voice, music = singing(song, 16_000), instruments(song, 16_000)
    assert lasting_partials(voice) < 0.5 * MOST_LASTING_PARTIALS
    assert lasting_partials(mixed(voice, music, 0.0)) > 2 * MOST_LASTING_PARTIALS


@pytest.mark.parametrize("song", SONGS)
def test_music_ten_decibels_below_speech_is_heard(song: str) -> None:
    assert lasting_partials(mixed(speech(16_000), instruments(song, 16_000), -10.0)) > MOST_LASTING_PARTIALS


@pytest.mark.parametrize("noise_db", [-30.0, -10.0])
def test_noise_is_not_taken_for_music(noise_db: float) -> None:
    assert lasting_partials(mixed(speech(16_000), noise(6, 0.1, 16_000), noise_db)) < 0.5


def test_mains_hum_as_recordings_have_it_is_not_taken_for_music() -> None:
    time = np.arange(6 * 16_000) / 16_000
    hum = np.sum([np.sin(2 * np.pi * 50 * n * time) / n for n in range(1, 6)], axis=0).astype(np.float32)
    assert lasting_partials(mixed(speech(16_000), hum, -30.0)) < MOST_LASTING_PARTIALS


def test_a_recording_too_short_to_have_pauses_is_not_judged() -> None:
    note = np.sum([np.sin(2 * np.pi * 220 * n * np.arange(40_000) / 16_000) for n in range(1, 9)], axis=0)
    assert lasting_partials(note.astype(np.float32)) == 0.0


def test_long_recordings_are_judged_by_excerpts() -> None:
    voice, song = singing("water", 16_000), mixed(singing("water", 16_000), instruments("water", 16_000), 0.0)
    assert lasting_partials(np.concatenate([voice] * 9 + [song])) < MOST_LASTING_PARTIALS
    assert lasting_partials(np.concatenate([song] * 10)) > 2 * MOST_LASTING_PARTIALS


@pytest.mark.parametrize("sample_rate", [32_000, 44_100, 48_000])
@pytest.mark.parametrize("once", [11_025, 16_000, 22_050])
def test_a_recording_that_was_once_at_a_lower_rate_is_found_out(sample_rate: int, once: int) -> None:
    voice = resample(noise(3, 0.1, 48_000), 48_000, once)
    found = bandwidth_hz(resample(voice, once, sample_rate), sample_rate)
    assert 0.8 * once / 2 < found < 1.1 * once / 2


def test_a_recording_whose_sound_falls_gently_reaches_to_half_its_rate() -> None:
    samples = noise(3, 0.1, 48_000).astype(np.float64)
    spectrum = np.fft.rfft(samples)
    frequency_khz = np.fft.rfftfreq(len(samples), 1 / 48_000) / 1000
    pink = np.fft.irfft(spectrum * 10 ** (-6 * np.log2(1 + frequency_khz) / 20)).astype(np.float32)
    assert bandwidth_hz(pink, 48_000) == 24_000


@pytest.mark.parametrize(("drive", "is_clipped"), [(1.0, False), (1.5, True), (4.0, True)])
def test_flat_tops_are_clipping_at_whatever_level(drive: float, is_clipped: bool) -> None:
    voice = speech()
    voice = voice / np.abs(voice).max()
    for level in (0.9, 0.2):
        recorded = np.round(level * (drive * voice).clip(-1, 1) * 32767).astype(np.float32) / 32767
        assert (measure("a.wav", recorded, 32_000).clipped_share >= 1e-4) == is_clipped


def test_a_low_tone_is_not_clipping() -> None:
    tone = 0.9 * np.sin(2 * np.pi * 60 * np.arange(48_000 * 3) / 48_000)
    recorded = (np.round(tone * 32767) / 32767).astype(np.float32)
    assert measure("a.wav", recorded, 48_000).clipped_share < 1e-4
