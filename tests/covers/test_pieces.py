"""Long songs are made in pieces: nothing of the song is lost, and nobody hears where it was cut."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from ultimate_rvc.audio.decode import decode
from ultimate_rvc.audio.level import true_peak
from ultimate_rvc.choices import AudioFormat, F0Method
from ultimate_rvc.covers import pieces
from ultimate_rvc.covers.pieces import FRAME_SAMPLES, joined_blocks, piece_bounds
from ultimate_rvc.covers.recipe import CoverResult, make_cover
from ultimate_rvc.covers.settings import OVERLAP_SECONDS, CoverSettings, StemSettings
from ultimate_rvc.covers.wave_file import read_stem, write_stem
from ultimate_rvc.paths import cache_dir, voice_models_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from voice_factory import write_voice_folder

SONGS = Path(__file__).parents[1] / "data" / "songs"
RATE = 44_100
SONG_SECONDS = 14.0


@given(minutes=st.floats(10.0, 400.0), seed=st.integers(0, 99))
def test_pieces_cover_a_song_and_share_a_second(minutes: float, seed: int) -> None:
    total = round(minutes * 60 * RATE)
    power = np.random.default_rng(seed).random(-(-total // FRAME_SAMPLES)).astype(np.float32)
    bounds = piece_bounds(power, RATE, total)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == total
    for (start, end), (following, _) in pairwise(bounds):
        assert end - following == pytest.approx(OVERLAP_SECONDS * RATE, abs=1)
        assert 150 <= (end - start) / RATE <= 460
    assert (bounds[-1][1] - bounds[-1][0]) / RATE <= 460


def test_a_song_is_cut_where_it_is_quiet() -> None:
    total, quiet_from = 12 * 60 * RATE, 330 * RATE
    power = np.ones(-(-total // FRAME_SAMPLES), np.float32)
    power[quiet_from // FRAME_SAMPLES : (quiet_from + 3 * RATE) // FRAME_SAMPLES] = 0
    bounds = piece_bounds(power, RATE, total)
    middle = (bounds[0][1] + bounds[1][0]) / 2
    assert quiet_from < middle < quiet_from + 3 * RATE


@pytest.mark.parametrize("gain_db", [0.0, -4.0])
def test_a_mix_in_pieces_is_the_mix(tmp_path: Path, gain_db: float) -> None:
    song = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 5 * RATE)).astype(np.float32)
    bounds = [(0.0, 2.3), (1.3, 4.0), (3.0, 5.0)]
    paths = []
    for number, (start, end) in enumerate(bounds):
        paths.append(tmp_path / f"{number}.wav")
        write_stem(paths[-1], song[:, round(start * RATE) : round(end * RATE)], RATE)
    spans = [pieces.Span(*bound) for bound in bounds]
    joined = np.concatenate(list(joined_blocks(paths, spans, gain_db, 0.0)), axis=1)
    assert joined.shape == song.shape
    assert np.abs(joined - song * 10 ** (gain_db / 20)).max() < 1e-6


def test_only_what_is_too_loud_in_one_piece_is_limited(tmp_path: Path) -> None:
    loud = np.zeros((2, 2 * RATE), np.float32)
    loud[:, RATE // 2] = 1.3
    quiet = np.full((2, 2 * RATE), 0.25, np.float32)
    paths = [tmp_path / "loud.wav", tmp_path / "quiet.wav"]
    for path, waveform in zip(paths, (loud, quiet), strict=True):
        write_stem(path, waveform, RATE)
    spans = [pieces.Span(0.0, 2.0), pieces.Span(1.0, 3.0)]
    joined = np.concatenate(list(joined_blocks(paths, spans, 0.0, -1.0)), axis=1)
    assert true_peak(joined, RATE) <= 10 ** (-1 / 20) * 1.0001
    assert np.array_equal(joined[:, 2 * RATE :], quiet[:, RATE:])


# ------------------------------------------------------------- a whole cover


@pytest.fixture
def song(tmp_path: Path) -> Path:
    parts = [decode(SONGS / f"{name}.ogg")[0] for name in ("water_vocals", "water_instrumental")]
    whole = sum(np.resize(np.broadcast_to(part, (2, part.shape[-1])), (2, 10 * RATE)) for part in parts)
    path = tmp_path / "Long Song.wav"
    wavfile.write(path, RATE, np.tile(whole, 2)[:, : round(SONG_SECONDS * RATE)].T * np.float32(0.5))
    return path


def cover(song: Path, progress: Progress | None = None) -> CoverResult:
    write_voice_folder(voice_models_dir(), "Anna", embedder="starter", sample_rate=32000, initial_channels=16)
    settings = CoverSettings(
        conversion=ConversionSettings(f0_methods=(F0Method.DIO,)),
        stems=StemSettings(vocals_model="dsp"),
        output_format=AudioFormat.WAV,
        device="cpu",
    )
    return make_cover(str(song), "Anna", settings, progress)


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs are long from six seconds on."""
    monkeypatch.setattr(pieces, "LONGEST_WHOLE_SECONDS", 6.0)
    monkeypatch.setattr(pieces, "PIECE_SECONDS", 5.0)
    monkeypatch.setattr(pieces, "SEARCH_SECONDS", 1.0)


@pytest.mark.usefixtures("in_pieces")
def test_a_cover_in_pieces_sounds_as_the_whole_one(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, list[float]] = {}
    made = cover(song, Progress(lambda step, fraction, _text: shown.setdefault(step, []).append(fraction)))
    assert made.duration_seconds == pytest.approx(SONG_SECONDS, abs=1e-3)
    names = [step.name for step in made.steps]
    assert names == ["retrieve", "separate", "convert", "effects", "mix", "encode"]
    converted = next(step for step in made.steps if step.name == "convert")
    assert len(converted.files) == 3
    assert shown["convert"] == sorted(shown["convert"])
    in_pieces, rate = decode(made.path)
    assert in_pieces.shape[1] == round(SONG_SECONDS * rate)

    monkeypatch.setattr(pieces, "LONGEST_WHOLE_SECONDS", 600.0)
    whole, _ = decode(cover(song).path)
    assert whole.shape == in_pieces.shape
    # The instruments are the same to the sample but for what separation hears around a cut; the voice's noise is not.
    frames = slice(0, whole.shape[1] // 2048 * 2048)
    levels = [
        np.sqrt(np.square(each[:, frames].mean(axis=0).reshape(-1, 2048)).mean(axis=1))
        for each in (in_pieces, whole)
    ]
    assert np.corrcoef(*levels)[0, 1] > 0.97
    assert true_peak(in_pieces, rate) <= 1.0


@pytest.mark.usefixtures("in_pieces")
def test_the_same_cover_in_pieces_again_gives_the_same_bytes(song: Path) -> None:
    first = cover(song).path.read_bytes()
    again = cover(song)
    assert all(step.cached for step in again.steps)
    assert again.path.read_bytes() == first
    shutil.rmtree(cache_dir())
    anew = cover(song)
    assert not any(step.cached for step in anew.steps)
    assert anew.path.read_bytes() == first


@pytest.mark.usefixtures("in_pieces")
def test_pieces_of_a_song_are_files_of_their_own(song: Path) -> None:
    cover(song)
    (folder,) = (cache_dir() / "cut").iterdir()
    cut = [read_stem(path)[0] for path in sorted(folder.glob("*.wav"))]
    _, whole = wavfile.read(song)
    assert np.array_equal(cut[0], whole.T[:, : cut[0].shape[1]])
    assert np.array_equal(cut[-1], whole.T[:, -cut[-1].shape[1] :])
    assert not list(folder.glob("*.raw"))
