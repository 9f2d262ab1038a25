from __future__ import annotations

import numpy as np
import pytest

from separation_material import SONG_NAMES, SONG_RATE, load_stems
from ultimate_rvc.separation.checks import check_stems


@pytest.mark.parametrize("name", SONG_NAMES)
def test_good_stems_raise_no_doubt(name: str) -> None:
    vocals, instrumental = load_stems(name)
    sung = np.repeat(vocals, 2, axis=0)
    assert check_stems(sung + instrumental, sung, instrumental, SONG_RATE) == []


def test_a_silent_song_is_named_and_nothing_else() -> None:
    silence = np.zeros((2, SONG_RATE), dtype=np.float32)
    warnings = check_stems(silence, silence, silence, SONG_RATE)
    assert len(warnings) == 1
    assert "song is silent" in warnings[0]


@pytest.mark.parametrize("gain", [0.0, 1e-3])
def test_empty_or_nearly_silent_vocals_are_named(gain: float) -> None:
    vocals, instrumental = load_stems("water")
    sung = np.repeat(vocals, 2, axis=0) * np.float32(gain)
    warnings = check_stems(sung + instrumental, sung, instrumental, SONG_RATE)
    assert len(warnings) == 1
    assert "vocals are empty or nearly silent" in warnings[0]
    assert "try another separation model" in warnings[0]


def test_one_sung_phrase_in_a_long_instrumental_is_enough() -> None:
    vocals, instrumental = load_stems("water")
    sung = np.repeat(vocals, 2, axis=0)
    sung[:, 2 * SONG_RATE :] = 0
    assert check_stems(sung + instrumental, sung, instrumental, SONG_RATE) == []


def test_a_clipped_song_is_named_once() -> None:
    vocals, instrumental = load_stems("thunder")
    sung = np.repeat(vocals, 2, axis=0)
    song = np.clip(4 * (sung + instrumental), -1, 1)
    warnings = check_stems(song, sung, instrumental, SONG_RATE)
    assert len(warnings) == 1
    assert "song is clipped" in warnings[0]


@pytest.mark.parametrize(("stem", "verb"), [("vocals", "are"), ("instrumental", "is")])
def test_a_clipped_stem_is_named(stem: str, verb: str) -> None:
    vocals, instrumental = load_stems("thunder")
    sung = np.repeat(vocals, 2, axis=0)
    stems = {"vocals": sung, "instrumental": instrumental}
    stems[stem] = np.clip(4 * stems[stem], -1, 1)
    warnings = check_stems(sung + instrumental, stems["vocals"], stems["instrumental"], SONG_RATE)
    assert len(warnings) == 1
    assert f"The {stem} {verb} clipped" in warnings[0]


@pytest.mark.parametrize("hz", [50, 100, 1000])
def test_round_peaks_that_touch_full_scale_are_not_clipping(hz: int) -> None:
    times = np.arange(SONG_RATE) / SONG_RATE
    tone = (np.round(np.sin(2 * np.pi * hz * times) * 32767)[None] / 32768).astype(np.float32)  # as 16 bits
    other = np.random.default_rng(0).standard_normal((1, SONG_RATE)).astype(np.float32) * np.float32(0.05)
    assert not any("clipped" in warning for warning in check_stems(tone, other, tone, SONG_RATE))
    loud = np.clip(2 * tone, -1, 1)
    assert any("song is clipped" in warning for warning in check_stems(loud, other, tone, SONG_RATE))


def test_peaks_above_full_scale_as_lossy_files_have_them_are_clipping() -> None:
    vocals, instrumental = load_stems("thunder")
    sung = np.repeat(vocals, 2, axis=0)
    song = 4 * (sung + instrumental)  # decoded without limiting
    warnings = check_stems(song, sung, instrumental, SONG_RATE)
    assert any("song is clipped" in warning for warning in warnings)


@pytest.mark.parametrize("share", [1.0, 0.97, 0.5])
def test_vocals_that_contain_the_mixture_are_named(share: float) -> None:
    vocals, instrumental = load_stems("evening")
    song = vocals + instrumental
    copied = song * np.float32(share)
    warnings = check_stems(song, copied, song - copied, SONG_RATE)
    assert len(warnings) == 1
    assert "vocals contain the mixture" in warnings[0]


def test_bass_left_in_the_vocals_is_named() -> None:
    vocals, instrumental = load_stems("water")
    times = np.arange(vocals.shape[1]) / SONG_RATE
    bass = (0.3 * np.sin(2 * np.pi * 50 * times)).astype(np.float32)[None]
    sung = np.repeat(vocals, 2, axis=0)
    song = sung + instrumental + bass
    warnings = check_stems(song, sung + bass, instrumental, SONG_RATE)
    assert len(warnings) == 1
    assert "bass is in them" in warnings[0]
