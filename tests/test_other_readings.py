"""The script that lets others say what a starter voice's material says; here, slowed speech for readers."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import librosa
import numpy as np
import pytest
import soundfile
import soxr

from recordings import singing, speech

CHECKOUT = Path(__file__).resolve().parent.parent
RATE = 16_000
SLOWER = 1.2


@pytest.fixture(scope="module")
def readings() -> Iterator[ModuleType]:
    before = sys.path[:]
    sys.path.insert(0, str(CHECKOUT / "scripts"))
    try:
        import make_other_readings

        yield make_other_readings
    finally:
        sys.path[:] = before


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    return speech(RATE)[: 3 * RATE].astype(np.float64)


@pytest.fixture(scope="module")
def reading(recording: np.ndarray) -> np.ndarray:
    """Slower and lower, and it begins later."""
    slower = soxr.resample(recording, RATE, round(RATE * SLOWER), quality="HQ")
    return np.concatenate([np.zeros(RATE // 4), slower])


def loudness_db(waveform: np.ndarray) -> np.ndarray:
    rms = librosa.feature.rms(y=waveform.astype(np.float32), frame_length=800, hop_length=320)[0]
    return 20 * np.log10(np.maximum(rms, 1e-3))


def test_a_slower_reading_is_brought_to_the_recordings_time(
    readings: ModuleType, recording: np.ndarray, reading: np.ndarray
) -> None:
    version = readings.in_time(reading, recording, keep_melody=False)
    assert version.shape == recording.shape
    loud = loudness_db(recording)
    before = np.corrcoef(loud, loudness_db(reading)[: len(loud)])[0, 1]
    assert np.corrcoef(loud, loudness_db(version))[0, 1] > max(0.85, before + 0.2)
    # It still has the reader's pitch.
    own_hz, theirs_hz, version_hz = (
        np.median(curve[curve > 0]) for curve, _ in map(readings.f0_of, (recording, reading, version))
    )
    assert version_hz == pytest.approx(theirs_hz, rel=0.06)
    assert version_hz < 0.95 * own_hz


def test_places_move_forward_at_the_readers_pace(
    readings: ModuleType, recording: np.ndarray, reading: np.ndarray
) -> None:
    places = readings.places_in(reading, recording)
    expected = 12.5 + SLOWER * np.arange(len(places))
    middle = slice(10, -10)
    assert np.median(np.abs(places - expected)[middle]) < 2
    assert (np.diff(places) >= -1e-9).all()


def test_singing_keeps_its_melody_at_the_readers_pitch(readings: ModuleType) -> None:
    sung = singing("water", RATE)[: 4 * RATE].astype(np.float64)
    lower = soxr.resample(sung, RATE, round(RATE * SLOWER), quality="HQ")
    version = readings.in_time(lower, sung, keep_melody=True)
    melody, _ = readings.f0_of(sung)
    found, _ = readings.f0_of(version)
    frames = min(len(melody), len(found))
    both = (melody[:frames] > 0) & (found[:frames] > 0)
    cents = 1200 * np.log2(found[:frames][both] / melody[:frames][both])
    assert np.median(np.abs(cents - np.median(cents))) < 40
    assert np.median(cents) == pytest.approx(-1200 * np.log2(SLOWER), abs=80)


def test_files_are_made_once_and_each_version_has_another_reader(
    readings: ModuleType, recording: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def read(sentence: str, random: np.random.Generator) -> np.ndarray:
        assert sentence == "Hello."
        asked.append(float(random.random()))
        return 0.5 * recording

    in_time = readings.in_time

    def spoken_alone(reading: np.ndarray, spoken: np.ndarray, *, keep_melody: bool) -> np.ndarray:
        assert len(spoken) == len(recording)  # pauses are not aligned with words
        return in_time(reading, spoken, keep_melody=keep_melody)

    monkeypatch.setattr(readings, "read_anew", read)
    monkeypatch.setattr(readings, "in_time", spoken_alone)
    material, others = tmp_path / "material", tmp_path / "others"
    material.mkdir()
    before, after = 0.25, 0.5
    padded = np.pad(recording, (round(before * RATE), round(after * RATE)))
    soundfile.write(material / "a.wav", padded, RATE)
    entry = {"file": "a.wav", "sentence": "Hello.", "kind": "speech"}
    entry |= {"pause_before": before, "pause_after": after}
    for version in range(2):
        (others / str(version + 1)).mkdir(parents=True)
        for _ in range(2):
            readings.make_version((entry, version), material, others, 1)
    assert len(asked) == len(set(asked)) == 2
    made, rate = soundfile.read(others / "2" / "a.wav")
    assert (len(made), rate) == (len(padded), RATE)
    assert np.sqrt(np.mean(made**2)) == pytest.approx(np.sqrt(np.mean(padded**2)), rel=0.05)
    in_pauses = np.concatenate([made[: round(before * RATE)], made[-round(after * RATE) :]])
    assert np.std(in_pauses) < 0.3 * np.std(made)  # noise at most


def test_material_that_names_no_pauses_is_read_as_well(
    readings: ModuleType, recording: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "read_anew", lambda sentence, random: 0.5 * recording)
    soundfile.write(tmp_path / "a.wav", recording, RATE)
    (tmp_path / "others" / "1").mkdir(parents=True)
    entry = {"file": "a.wav", "sentence": "Hello.", "kind": "speech"}
    readings.make_version((entry, 0), tmp_path, tmp_path / "others", 1)
    assert soundfile.info(tmp_path / "others" / "1" / "a.wav").frames == len(recording)


def test_a_room_is_an_echo_behind_what_is_said(readings: ModuleType) -> None:
    click = np.zeros(RATE)
    click[1000] = 1.0
    for seed in range(20):
        heard = readings.in_a_room(click, np.random.default_rng(seed))
        echo = heard - click
        assert np.abs(echo[:1000]).max() < 1e-9
        below_db = -10 * np.log10(np.sum(echo**2))
        low, high = readings.DIRECT_TO_ROOM_DB
        assert low - 1e-6 <= below_db <= high + 1e-6
        first, second = (np.sum(half**2) for half in np.split(echo[1000 : 1000 + round(0.15 * RATE)], 2))
        assert second < 0.5 * first


@pytest.mark.parametrize("engine", ["espeak-ng", "pico", "ked"])
def test_each_engine_that_is_here_reads(
    readings: ModuleType, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = {"espeak-ng": "espeak-ng", "ked": "festival"}
    if engine == "pico":
        pytest.importorskip("ttspico")
    elif shutil.which(needed[engine]) is None or (
        engine == "ked" and not Path("/usr/share/festival/voices/english/ked_diphone").is_dir()
    ):
        pytest.skip(f"{engine} is not installed")
    monkeypatch.setattr(readings, "SHARES", {engine: 1.0})
    read = readings.read_anew("Hello again.", np.random.default_rng(1))
    readings.read_anew("Something else.", np.random.default_rng(2))
    np.testing.assert_array_equal(readings.read_anew("Hello again.", np.random.default_rng(1)), read)
    assert 0.5 < len(read) / RATE < 3
    assert 0.01 < np.std(read) < 0.5
    voiced_hz, _ = readings.f0_of(read)
    assert 60 < np.median(voiced_hz[voiced_hz > 0]) < 400


def test_no_voice_of_the_quality_bench_is_among_the_readers(readings: ModuleType) -> None:
    bench = (CHECKOUT / "benchmarks" / "quality_material.py").read_text(encoding="utf-8")
    assert '"en-us+f3"' in bench  # the only variant that is converted there
    assert "f3" not in readings.VARIANTS
    assert "" not in readings.VARIANTS
    assert len(set(readings.VARIANTS)) == len(readings.VARIANTS) > 40


def test_unfinished_material_is_told(
    readings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "material.json").write_text(json.dumps({"seed": 1}))
    monkeypatch.setattr(readings, "check_installed", lambda: None)
    monkeypatch.setattr(sys, "argv", ["make_other_readings.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="unfinished"):
        readings.main()


def test_a_prompt_is_read_by_its_person_once(
    readings: ModuleType, recording: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def by_the_person(name: str) -> np.ndarray:
        asked.append(name)
        return 0.5 * recording

    def by_another(sentence: str, random: np.random.Generator) -> np.ndarray:
        asked.append("another")
        return 0.5 * recording

    monkeypatch.setattr(readings.asterisk_prompts, "read", by_the_person)
    monkeypatch.setattr(readings, "read_anew", by_another)
    soundfile.write(tmp_path / "a.wav", recording, RATE)
    entry = {"file": "a.wav", "sentence": "Hello.", "kind": "speech", "prompt": "hello"}
    for version in range(2):
        (tmp_path / "others" / str(version + 1)).mkdir(parents=True)
        readings.make_version((entry, version), tmp_path, tmp_path / "others", 1)
    assert asked == ["hello", "another"]


def test_other_singers_draw_breath_where_the_song_does(
    readings: ModuleType, recording: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "read_anew", lambda sentence, random: 0.5 * recording)
    monkeypatch.setattr(readings, "ROOM_SHARE", 0.0)
    monkeypatch.setattr(readings, "MADE_OTHER_SHARE", 0.0)
    pause, air = RATE // 4, round(0.3 * RATE)
    drawn = 0.02 * np.random.default_rng(0).uniform(-1, 1, air)
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.zeros(pause), drawn, recording]), RATE)
    (tmp_path / "others" / "1").mkdir(parents=True)
    entry = {"file": "a.wav", "sentence": "Hello.", "kind": "speech", "pause_before": 0.25, "breath": 0.3}
    readings.make_version((entry, 0), tmp_path, tmp_path / "others", 1)
    made, _ = soundfile.read(tmp_path / "others" / "1" / "a.wav")
    assert not made[:pause].any()
    heard = np.abs(made[pause : pause + air]).max()
    assert 0.01 < heard < 0.04
    assert len(made) == pause + air + len(recording)
