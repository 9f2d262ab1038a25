"""The script that lets others say what a starter voice's material says; here, slowed speech for readers."""

from __future__ import annotations

import json
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

    def read(sentence: str, random: np.random.Generator) -> tuple[np.ndarray, int]:
        assert sentence == "Hello."
        asked.append(float(random.random()))
        return 0.5 * recording, RATE

    monkeypatch.setattr(readings, "read_anew", read)
    material, others = tmp_path / "material", tmp_path / "others"
    material.mkdir()
    soundfile.write(material / "a.wav", recording, RATE)
    for version in range(2):
        (others / str(version + 1)).mkdir(parents=True)
        for _ in range(2):
            readings.make_version(
                ({"file": "a.wav", "sentence": "Hello.", "kind": "speech"}, version), material, others, 1
            )
    assert len(asked) == len(set(asked)) == 2
    made, rate = soundfile.read(others / "2" / "a.wav")
    assert (len(made), rate) == (len(recording), RATE)
    assert np.sqrt(np.mean(made**2)) == pytest.approx(np.sqrt(np.mean(recording**2)), rel=0.05)


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
