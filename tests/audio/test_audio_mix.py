"""Mixing: everything is heard at its gain, nothing clips, nothing is cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_files import tone
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.audio.level import db_to_gain, gain_to_db, peak, true_peak
from ultimate_rvc.audio.mix import Track, mix
from ultimate_rvc.errors import AudioError, SettingError

RATE = 44_100
SONG = Path(__file__).parent.parent / "data" / "songs" / "real_song.ogg"


def test_tracks_are_added_at_their_gains() -> None:
    low, high = tone(200, 1, RATE, 0.2), tone(900, 1, RATE, 0.3)
    mixed = mix([Track(np.stack([low, low * 0]), RATE, 6), Track(high, RATE, -6)], RATE)
    np.testing.assert_allclose(mixed[0], low * db_to_gain(6) + high * db_to_gain(-6), atol=1e-6)
    np.testing.assert_allclose(mixed[1], high * db_to_gain(-6), atol=1e-6)


def test_the_mix_is_as_long_as_its_longest_track() -> None:
    short, long = tone(300, 0.5, RATE, 0.2), tone(500, 1.25, 48_000, 0.2)
    mixed = mix([Track(short, RATE), Track(long, 48_000)], RATE)
    assert mixed.shape == (2, round(1.25 * RATE))
    late = slice(round(0.6 * RATE), round(1.2 * RATE))
    np.testing.assert_allclose(mixed[0, late], tone(500, 1.25, RATE, 0.2)[late], atol=1e-4)


def test_tracks_of_other_rates_stay_in_time_and_tune() -> None:
    """The same sine at three rates, one of them turned around, cancels down to its own level."""
    tracks = [
        Track(tone(440, 1, 48_000, 0.3), 48_000),
        Track(-tone(440, 1, 32_000, 0.3), 32_000),
        Track(tone(440, 1, 96_000, 0.1), 96_000),
    ]
    inner = slice(RATE // 10, -RATE // 10)
    difference = mix(tracks, RATE)[:, inner] - tone(440, 1, RATE, 0.1)[inner]
    assert np.abs(difference).max() < 1e-4


def test_surround_tracks_are_folded() -> None:
    surround = np.zeros((6, RATE), np.float32)
    surround[2] = tone(300, 1, RATE, 0.4)
    mixed = mix([Track(surround, RATE)], RATE)
    np.testing.assert_allclose(mixed[1], surround[2] * 0.5**0.5, atol=1e-6)


def test_a_quiet_mix_is_left_as_it_is() -> None:
    quiet = np.stack([tone(300, 1, RATE, 0.8)] * 2)
    np.testing.assert_array_equal(mix([Track(quiet, RATE)], RATE), quiet)


@given(
    gains_db=st.lists(st.floats(-60, 20), min_size=1, max_size=4),
    seed=st.integers(0, 100),
    sample_rate=st.sampled_from([16_000, 44_100, 96_000]),
)
def test_no_mix_exceeds_its_ceiling(gains_db: list[float], seed: int, sample_rate: int) -> None:
    rng = np.random.default_rng(seed)
    tracks = [
        Track(
            rng.uniform(-1, 1, (rng.integers(1, 3), rng.integers(1, 8_000))).astype(np.float32),
            44_100,
            gain_db,
        )
        for gain_db in gains_db
    ]
    mixed = mix(tracks, sample_rate)
    longest = max(track.waveform.shape[1] for track in tracks)
    assert mixed.shape == (2, round(longest * sample_rate / 44_100))
    assert gain_to_db(true_peak(mixed, sample_rate)) <= -1 + 1e-4


def test_a_far_too_loud_mix_is_turned_down_rather_than_squashed() -> None:
    """12 dB over: its loud and quiet parts keep their distance to within the 3 dB left to the limiter."""
    music = np.concatenate([tone(300, 1, RATE, 0.2), tone(300, 1, RATE, 0.9)])
    mixed = mix([Track(music, RATE, 12)], RATE)
    quiet, loud = peak(mixed[:, : RATE // 2]), peak(mixed[:, -RATE // 2 :])
    assert gain_to_db(loud / quiet) == pytest.approx(gain_to_db(0.9 / 0.2) - 3, abs=0.1)
    assert gain_to_db(loud) == pytest.approx(-1, abs=0.05)


@pytest.mark.parametrize("kbps", [128, 192, 256, 320])
def test_an_mp3_of_a_loud_song_stays_below_0_dbtp(tmp_path: Path, kbps: int) -> None:
    song, sample_rate = decode(SONG)
    excerpt = song[:, : 6 * sample_rate]
    mixed = mix([Track(excerpt / peak(excerpt), sample_rate, 3)], sample_rate)

    encode(tmp_path / "a.mp3", mixed, sample_rate, bitrate_kbps=kbps)
    decoded, rate = decode(tmp_path / "a.mp3")

    assert gain_to_db(true_peak(mixed, sample_rate)) == pytest.approx(-1, abs=0.01)
    assert gain_to_db(true_peak(decoded, rate)) <= 0


def test_inputs_are_not_changed() -> None:
    music = tone(300, 0.5, RATE, 0.9)
    before = music.copy()
    mix([Track(music, RATE, 10), Track(music, RATE, 10)], RATE)
    np.testing.assert_array_equal(music, before)


def test_nothing_to_mix_and_broken_tracks_are_refused() -> None:
    with pytest.raises(AudioError, match="nothing to mix"):
        mix([], RATE)
    with pytest.raises(AudioError, match="nothing to mix"):
        mix([Track(np.zeros((2, 0), np.float32), RATE)], RATE)
    with pytest.raises(AudioError, match="NaN"):
        Track(np.array([np.nan], np.float32), RATE)
    with pytest.raises(SettingError, match="gain_db is 100"):
        Track(tone(300, 0.1, RATE), RATE, 100)
    with pytest.raises(SettingError, match="ceiling"):
        mix([Track(tone(300, 0.1, RATE), RATE)], RATE, ceiling_dbtp=1)
