"""The pitch that is suggested: from what is sung in a song, and where the voice is at home."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ultimate_rvc.audio.decode import decode_sides
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.covers.suggestion import suggested_shift
from ultimate_rvc.errors import AudioError
from ultimate_rvc.paths import packaged_assets_dir

DEMO = packaged_assets_dir() / "demo.ogg"
VOCALS = Path(__file__).parents[1] / "data" / "songs" / "water_vocals.ogg"
SUNG_HZ = 330.0  # the median of the demo's melody, by WORLD's Harvest on its vocals


@pytest.mark.parametrize(("home_hz", "shift"), [(SUNG_HZ, 0), (SUNG_HZ / 2, -12), (SUNG_HZ * 1.5, 7)])
def test_a_recording_is_shifted_to_where_the_voice_is_at_home(home_hz: float, shift: int) -> None:
    assert suggested_shift(VOCALS, home_hz, whole_octaves=False) == pytest.approx(shift, abs=1)


def test_music_around_the_voice_changes_nothing() -> None:
    alone, mixed = (suggested_shift(path, 200.0, whole_octaves=False) for path in (VOCALS, DEMO))
    assert mixed == pytest.approx(alone, abs=1)


@pytest.mark.parametrize(("home_hz", "shift"), [(120.0, -12), (200.0, 0), (330.0, 0), (500.0, 12)])
def test_a_song_is_shifted_by_octaves_from_where_such_a_voice_sings(home_hz: float, shift: int) -> None:
    assert suggested_shift(DEMO, home_hz, whole_octaves=True) == shift


def test_the_loudest_part_of_a_long_song_decides(tmp_path: Path) -> None:
    sound, sample_rate = decode_sides(VOCALS)
    quiet = np.zeros((len(sound), 60 * sample_rate), np.float32)
    encode(tmp_path / "long.wav", np.concatenate([quiet, sound, quiet], axis=1), sample_rate)
    assert suggested_shift(tmp_path / "long.wav", SUNG_HZ, whole_octaves=False) == pytest.approx(0, abs=1)


def test_silence_is_told(tmp_path: Path) -> None:
    encode(tmp_path / "silence.wav", np.zeros((1, 44_100), np.float32), 44_100)
    with pytest.raises(AudioError, match=r"silence\.wav is silent"):
        suggested_shift(tmp_path / "silence.wav", 200.0, whole_octaves=True)
