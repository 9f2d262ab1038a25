"""Is the f0 of pieces the f0 of the whole? On 67 s of spoken sentences and sung notes.

The recording is made of sentences by flite's voices, a sung melody and pauses; docs/pitch.md has the
figures for other speech as well.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc.choices import F0Method
from ultimate_rvc.errors import CancelledError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.pitch import extract_f0, load_pitch_methods
from ultimate_rvc.rvc.pitch.chunked import FRAME_GRID, pieces
from ultimate_rvc.rvc.pitch.fcpe import load_fcpe

RECORDING = Path(__file__).parents[2] / "data" / "pitch" / "voices.ogg"
SAMPLE_RATE = 16_000
# The slow ones on their share of the recording; docs/pitch.md has all of it.
SECONDS = {F0Method.FCPE: 14, F0Method.DIO: 67, F0Method.HARVEST: 10, F0Method.CREPE_TINY: 8}


@pytest.fixture(scope="module")
def recording() -> torch.Tensor:
    return torch.from_numpy(soundfile.read(RECORDING, dtype="float32")[0])


@pytest.mark.parametrize("name", SECONDS)
def test_pieces_agree_with_the_whole(name: F0Method, recording: torch.Tensor) -> None:
    waveform_16k = recording[-SECONDS[name] * SAMPLE_RATE :]
    method = load_pitch_methods((name,), "cpu")
    whole_hz = method.f0_hz(waveform_16k).double().numpy()
    pieces_hz = extract_f0(method, waveform_16k, chunk_seconds=6).double().numpy()
    assert whole_hz.shape == pieces_hz.shape
    assert 0.4 < np.mean(whole_hz > 0) < 0.95  # the recording tests both kinds of frames
    assert np.mean((whole_hz > 0) == (pieces_hz > 0)) >= 0.995
    voiced = (whole_hz > 0) & (pieces_hz > 0)
    cents = 1200 * np.abs(np.log2(whole_hz[voiced] / pieces_hz[voiced]))
    assert np.mean(cents < 5) >= 0.99


def test_fcpe_needs_the_recordings_statistics_to_agree(recording: torch.Tensor) -> None:
    """Pieces normalised by themselves give other f0; what for_recording takes along makes them equal."""
    waveform_16k = recording[: 12 * SAMPLE_RATE]
    piece_16k = waveform_16k[: 2 * SAMPLE_RATE]
    fcpe = load_fcpe("cpu")
    whole = fcpe.salience(waveform_16k)[:100]
    torch.testing.assert_close(
        fcpe.for_recording(waveform_16k).salience(piece_16k)[:100], whole, rtol=0, atol=1e-4
    )
    assert (fcpe.salience(piece_16k)[:100] - whole).abs().max() > 0.01


@pytest.mark.parametrize("name", [F0Method.HARVEST, F0Method.DIO])
def test_one_sample_more_changes_no_frame_before_it(name: F0Method, recording: torch.Tensor) -> None:
    """WORLD's own answer to an odd number of samples differs in one frame of ten."""
    method = load_pitch_methods((name,), "cpu")
    waveform_16k = recording[-4 * SAMPLE_RATE :]
    even_hz = method.f0_hz(waveform_16k)[:300]
    odd_hz = method.f0_hz(waveform_16k[:-1])[:300]
    assert bool((even_hz > 0).any())
    torch.testing.assert_close(odd_hz, even_hz, rtol=1e-4, atol=0)


@given(
    samples=st.integers(1, 200_000),
    piece_seconds=st.floats(0.01, 5),
    context_seconds=st.floats(0, 3),
)
def test_pieces_keep_each_frame_once_and_reach_their_context(
    samples: int, piece_seconds: float, context_seconds: float
) -> None:
    next_frame, frames = 0, samples // 160 + 1
    for piece in pieces(samples, piece_seconds, context_seconds):
        first = piece.samples.start // 160
        assert piece.samples.start % (160 * FRAME_GRID) == 0
        assert 0 <= piece.samples.start < piece.samples.stop <= samples or samples < 160
        own_frames = (piece.samples.stop - piece.samples.start) // 160 + 1
        assert first + piece.keep.start == next_frame
        assert piece.keep.stop <= own_frames
        wanted = context_seconds * 100
        assert piece.keep.start >= min(wanted, next_frame)
        next_frame += piece.keep.stop - piece.keep.start
        assert own_frames - piece.keep.stop >= min(wanted, frames - next_frame)
    assert next_frame == frames


def test_a_piece_is_all_that_a_method_ever_sees() -> None:
    """What bounds the memory: 30 minutes are never in a network at once."""

    class Recorder:
        name = "recorder"
        context_seconds = 1.0
        longest = 0

        def for_recording(self, waveform_16k: torch.Tensor) -> Recorder:
            return self

        def f0_hz(self, waveform_16k: torch.Tensor) -> torch.Tensor:
            self.longest = max(self.longest, len(waveform_16k))
            return torch.full((len(waveform_16k) // 160 + 1,), 100.0)

    recorder = Recorder()
    f0_hz = extract_f0(recorder, torch.zeros(30 * 60 * SAMPLE_RATE), chunk_seconds=30)
    assert f0_hz.shape == (180_001,)
    assert bool((f0_hz == 100).all())
    assert recorder.longest <= 34 * SAMPLE_RATE


def test_what_nobody_hears_is_unvoiced_without_being_computed(recording: torch.Tensor) -> None:
    dio = load_pitch_methods((F0Method.DIO,), "cpu")
    seconds = 4
    voice = recording[: seconds * SAMPLE_RATE]
    song = torch.cat([voice, torch.full((10 * seconds * SAMPLE_RATE,), 1e-5), voice])
    seen: list[int] = []

    class Counting:
        name, context_seconds = dio.name, dio.context_seconds

        def for_recording(self, waveform_16k: torch.Tensor) -> Counting:
            return self

        def f0_hz(self, waveform_16k: torch.Tensor) -> torch.Tensor:
            seen.append(len(waveform_16k))
            return dio.f0_hz(waveform_16k)

    every = extract_f0(dio, song, chunk_seconds=seconds)
    heard = extract_f0(Counting(), song, chunk_seconds=seconds, silent_below=1e-3)
    assert len(seen) < 6
    ends = slice(0, seconds * 100), slice(-seconds * 100, None)
    assert all(torch.equal(heard[end], every[end]) for end in ends)
    assert not heard[2 * seconds * 100 : -2 * seconds * 100].any()


def test_progress_rises_to_one_and_can_cancel(recording: torch.Tensor) -> None:
    dio = load_pitch_methods((F0Method.DIO,), "cpu")
    seen: list[float] = []
    extract_f0(
        dio,
        recording[:160_000],
        chunk_seconds=2,
        progress=Progress(lambda step, share, text: seen.append(share)),
    )
    assert len(seen) > 4
    assert seen == sorted(seen)
    assert seen[-1] == 1
    cancelled = Progress()
    cancelled.cancel()
    with pytest.raises(CancelledError):
        extract_f0(dio, recording[:160_000], progress=cancelled)
