"""What a cover may be asked for, and how what cannot be is told."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ultimate_rvc
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.covers.settings import CoverSettings, SourceSettings, rest_semitones
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.infer.settings import ConversionSettings


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"main_gain": 21}, "main_gain is 21, but must be from -60"),
        ({"inst_gain": -61}, "inst_gain is -61"),
        ({"backup_gain": math.nan}, "backup_gain is nan"),
        ({"inst_semitones": 25}, "inst_semitones is 25, but must be from -24 to 24"),
        ({"backup_semitones": -25}, "backup_semitones is -25"),
        ({"output_sr": 22050}, "output_sr is 22050, but must be one of 16000, 44100, 48000, 96000, 192000"),
        ({"output_sr": 96000}, "mp3 holds at most 48000 Hz"),
        ({"output_sr": 192000, "output_format": AudioFormat.M4A}, "m4a holds at most 96000 Hz"),
        ({"bitrate_kbps": 321}, "bitrate_kbps is 321, but must be from 32 to 320"),
        ({"bitrate_kbps": 48, "output_format": AudioFormat.OGG}, "must be from 64 to 320"),
        ({"bitrate_kbps": 192, "output_sr": 16000}, "must be from 32 to 160"),
        ({"bitrate_kbps": 128, "output_format": AudioFormat.FLAC}, "bitrate_kbps has no meaning for flac"),
        ({"output_path": Path("a.xyz")}, r"output_path a\.xyz should end in one of \.mp3"),
        ({"output_path": Path("a.wav"), "output_format": AudioFormat.MP3}, "disagree"),
        ({"output_path": Path("a.wav"), "output_name": "b"}, "name the same file"),
    ],
)
def test_a_value_outside_its_range_is_named_with_its_range(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        CoverSettings(**values)


@pytest.mark.parametrize("values", [{"max_minutes": 0}, {"network_timeout_seconds": 601}])
def test_a_source_setting_outside_its_range_is_named(values: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"must be from 0\.1 to 600"):
        SourceSettings(**values)


def test_the_format_follows_the_output_name_and_is_mp3_without_one() -> None:
    assert CoverSettings().audio_format is AudioFormat.MP3
    assert CoverSettings(output_path=Path("a.FLAC")).audio_format is AudioFormat.FLAC
    assert CoverSettings(output_format=AudioFormat.OGG).audio_format is AudioFormat.OGG
    assert CoverSettings(output_path=Path("a.m4a"), output_format=AudioFormat.M4A, output_sr=96000)


@pytest.mark.parametrize(
    ("voice", "rest"),
    [(0, 0), (12, 0), (-12, 0), (24, 0), (7, -5), (-7, 5), (5, 5), (-13, -1), (6, 6), (-6, -6), (18, 6)],
)
def test_the_accompaniment_takes_the_short_way_to_the_key_of_the_voice(voice: int, rest: int) -> None:
    assert rest_semitones(voice) == rest


@given(st.integers(-96, 96))
def test_the_accompaniment_is_always_in_key_and_never_shifted_by_more_than_half_an_octave(shift: int) -> None:
    assert (rest_semitones(shift) - shift) % 12 == 0
    assert abs(rest_semitones(shift)) <= 6


@given(st.integers(-3, 3), st.integers(-12, 12))
def test_an_octave_is_the_same_as_twelve_semitones(octaves: int, semitones: int) -> None:
    by_octaves = ConversionSettings(n_octaves=octaves, n_semitones=semitones)
    by_semitones = ConversionSettings(n_semitones=12 * octaves + semitones)
    assert by_octaves.shift_semitones == by_semitones.shift_semitones


def test_settings_load_nothing_heavy() -> None:
    program = (
        "import sys, ultimate_rvc.covers.settings\n"
        "heavy = {'torch', 'numpy', 'scipy', 'av', 'librosa', 'yt_dlp', 'transformers'} & set(sys.modules)\n"
        "sys.exit(' '.join(sorted(heavy)) or 0)"
    )
    environment = {"PYTHONPATH": str(Path(ultimate_rvc.__file__).parents[1])}
    outcome = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
