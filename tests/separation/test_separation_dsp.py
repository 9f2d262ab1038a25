from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from separation_material import SONG_NAMES, SONG_RATE, SONGS_DIR, load_stems, sdr_db
from ultimate_rvc.audio.decode import decode
from ultimate_rvc.audio.resample import resample
from ultimate_rvc.errors import AudioError, CancelledError
from ultimate_rvc.progress import Progress
from ultimate_rvc.separation import separate, split_lead_backing
from ultimate_rvc.separation.blocks import block_starts, map_blocks
from ultimate_rvc.separation.dsp.spectrum import istft, median_along_rows, stft

# What the issue asks for is 3 dB over the mixture; these hold what was reached, less a margin.
IMPROVEMENT_DB = {"water": 9.0, "thunder": 10.5, "evening": 5.0}
MONO_IMPROVEMENT_DB = {"water": 7.0, "thunder": 9.0, "evening": 4.0}


@pytest.mark.parametrize("name", SONG_NAMES)
def test_dsp_vocals_beat_the_mixture_in_stereo_and_mono(name: str) -> None:
    vocals, instrumental = load_stems(name)
    mixture = vocals + instrumental
    reference = np.repeat(vocals, 2, axis=0)
    stems = separate(mixture, SONG_RATE, model="dsp")
    assert sdr_db(reference, stems.vocals) - sdr_db(reference, mixture) > IMPROVEMENT_DB[name]
    assert sdr_db(instrumental, stems.instrumental) - sdr_db(instrumental, mixture) > 5.0
    assert stems.model == "dsp"
    assert stems.warnings == ()

    mono = mixture.mean(axis=0, keepdims=True)
    mono_stems = separate(mono, SONG_RATE, model="dsp")
    assert mono_stems.vocals.shape == mono.shape
    assert sdr_db(vocals, mono_stems.vocals) - sdr_db(vocals, mono) > MONO_IMPROVEMENT_DB[name]


def test_stems_of_a_real_song_are_finite_and_add_up() -> None:
    whole, rate = decode(SONGS_DIR / "real_song.ogg")
    song = whole[:, : 8 * rate]
    stems = separate(song, rate, model="dsp")
    assert stems.vocals.shape == stems.instrumental.shape == song.shape
    assert stems.vocals.dtype == stems.instrumental.dtype == np.float32
    assert np.isfinite(stems.vocals).all()
    np.testing.assert_allclose(stems.vocals + stems.instrumental, song, atol=1e-6)


def test_separating_twice_gives_the_same_bytes() -> None:
    vocals, instrumental = load_stems("evening")
    song = (vocals + instrumental)[:, : 3 * SONG_RATE]
    first, second = (separate(song, SONG_RATE, model="dsp").vocals for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_the_sample_rate_of_the_caller_is_kept(rate: int) -> None:
    vocals, instrumental = load_stems("thunder")
    song = resample((vocals + instrumental)[:, : 4 * SONG_RATE], SONG_RATE, rate)
    sung = resample(np.repeat(vocals[:, : 4 * SONG_RATE], 2, axis=0), SONG_RATE, rate)
    stems = separate(song, rate, model="dsp")
    assert stems.sample_rate == rate
    assert stems.vocals.shape == song.shape
    assert sdr_db(sung, stems.vocals) - sdr_db(sung, song) > 6.0


@pytest.mark.parametrize("samples", [1, 441, 30_000])
def test_very_short_audio_is_separated(samples: int) -> None:
    click = np.zeros((2, samples), dtype=np.float32)
    click[:, samples // 2] = 0.5
    stems = separate(click, SONG_RATE, model="dsp")
    assert stems.vocals.shape == click.shape
    assert np.isfinite(stems.vocals).all()


def test_loudness_of_the_song_does_not_change_the_result() -> None:
    vocals, instrumental = load_stems("water")
    song = (vocals + instrumental)[:, : 2 * SONG_RATE]
    loud = separate(song, SONG_RATE, model="dsp").vocals
    quiet = separate(song * np.float32(0.01), SONG_RATE, model="dsp").vocals
    np.testing.assert_allclose(quiet * 100, loud, atol=1e-4)


def test_empty_nan_and_surround_are_refused_in_one_sentence() -> None:
    with pytest.raises(AudioError, match="empty"):
        separate(np.zeros((2, 0), dtype=np.float32), SONG_RATE, model="dsp")
    with pytest.raises(AudioError, match="not numbers"):
        separate(np.full((2, 100), np.nan, dtype=np.float32), SONG_RATE, model="dsp")
    with pytest.raises(AudioError, match="6 channels"):
        separate(np.zeros((6, 100), dtype=np.float32), SONG_RATE, model="dsp")


def test_separation_reports_progress_and_can_be_cancelled() -> None:
    seen: list[tuple[str, float]] = []
    progress = Progress(lambda step, fraction, text: seen.append((step, fraction)))
    noise = np.random.default_rng(0).standard_normal((2, SONG_RATE)).astype(np.float32) * np.float32(0.1)
    separate(noise, SONG_RATE, model="dsp", progress=progress)
    assert seen[-1] == ("separate", 1.0)
    progress.cancel()
    with pytest.raises(CancelledError):
        separate(noise, SONG_RATE, model="dsp", progress=progress)


def test_centred_lead_is_parted_from_wide_backing_vocals() -> None:
    lead, _ = load_stems("water")
    wide, _ = load_stems("evening")
    left = wide[0] * np.float32(0.7)
    right = np.roll(wide[0], 1323) * np.float32(0.7)  # 30 ms apart, as a doubled voice
    backing = np.stack([left, right])
    voices = lead + backing
    parts = split_lead_backing(voices, SONG_RATE, model="dsp")
    reference = np.repeat(lead, 2, axis=0)
    assert sdr_db(reference, parts.lead) - sdr_db(reference, voices) > 2.0
    assert sdr_db(backing, parts.backing) - sdr_db(backing, voices) > 2.0
    np.testing.assert_allclose(parts.lead + parts.backing, voices, atol=1e-6)
    assert parts.warnings == ()


@pytest.mark.parametrize("channels", [1, 2])
def test_mono_vocals_are_all_lead_and_that_is_said(channels: int) -> None:
    lead, _ = load_stems("water")
    voices = np.repeat(lead, channels, axis=0)
    parts = split_lead_backing(voices, SONG_RATE, model="dsp")
    np.testing.assert_array_equal(parts.lead, voices)
    assert not parts.backing.any()
    assert len(parts.warnings) == 1
    assert "mono" in parts.warnings[0]


@given(
    total=st.integers(1, 5000),
    block=st.integers(20, 900),
    overlap=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_blocks_that_change_nothing_join_to_the_input(
    total: int, block: int, overlap: int, seed: int
) -> None:
    signal = np.random.default_rng(seed).standard_normal((2, total)).astype(np.float32)
    joined = map_blocks(signal, block, overlap, lambda part, _: part.copy(), Progress(), "step")
    np.testing.assert_allclose(joined, signal, atol=1e-6)
    lengths = [end - start for start, end in block_starts(total, block, overlap)]
    assert max(lengths) <= block + (block - overlap) // 2


@pytest.mark.parametrize("samples", [5000, 44_100, 49_152])
@pytest.mark.parametrize("frame_length", [1024, 4096])
def test_spectra_are_those_of_torch_and_lead_back_to_the_signal(samples: int, frame_length: int) -> None:
    signal = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
    expected = torch.stft(
        torch.from_numpy(signal),
        frame_length,
        frame_length // 4,
        window=torch.hann_window(frame_length),
        pad_mode="constant",
        return_complex=True,
    )
    spectrum = stft(signal, frame_length)
    assert spectrum.dtype == np.complex64
    np.testing.assert_allclose(spectrum, expected.mT.numpy(), atol=2e-4)
    np.testing.assert_allclose(istft(spectrum, samples), signal, atol=1e-5)


@pytest.mark.parametrize(("columns", "size"), [(7, 15), (40, 5), (100, 31)])
def test_medians_along_rows_are_those_of_the_filter_for_matrices(columns: int, size: int) -> None:
    rows = np.random.default_rng(0).standard_normal((6, columns)).astype(np.float32)
    np.testing.assert_array_equal(median_along_rows(rows, size), median_filter(rows, size=(1, size)))


def test_separation_waits_for_no_compiler() -> None:
    """numba would compile before the first song: 20 s after a fresh install, as with librosa's spectra."""
    separates = (
        "import sys, numpy as np; from ultimate_rvc.separation import remove_reverb, separate\n"
        "noise = np.random.default_rng(0).standard_normal((2, 44_100)).astype(np.float32) * np.float32(0.1)\n"
        "separate(noise, 44_100, model='dsp'); remove_reverb(noise, 44_100, model='dsp')\n"
        "sys.exit(', '.join({'numba', 'librosa'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", separates], check=True)
