"""Where recordings are cut."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recordings import noise
from ultimate_rvc.rvc.train.data_settings import PreprocessSettings, SplitMethod
from ultimate_rvc.rvc.train.slicing import (
    FRAMES_PER_SECOND,
    SHORTEST_PIECE_FRAMES,
    FloatArray,
    covered_frames,
    cut,
    levels,
    sounding,
)

RATE = 8000
FRAME = RATE // FRAMES_PER_SECOND


def bursts(*seconds: float, level: float = 0.1) -> FloatArray:
    """Sound and silence by turns, beginning with sound."""
    parts = [noise(duration, 0.0 if number % 2 else level, RATE) for number, duration in enumerate(seconds)]
    return np.concatenate(parts)


def pieces(waveform: FloatArray, **settings: object) -> list[tuple[int, int]]:
    clips = cut(waveform, RATE, PreprocessSettings(**settings))  # type: ignore[arg-type]
    return list(chain.from_iterable(clips))


def test_levels_are_the_rms_of_sixty_milliseconds() -> None:
    waveform = noise(1, 0.1, RATE)
    expected = np.sqrt(np.square(waveform[9 * FRAME : 12 * FRAME]).mean())
    assert levels(waveform, RATE)[10] == pytest.approx(expected, rel=1e-5)
    assert levels(waveform[: 2 * FRAME], RATE)[0] == pytest.approx(
        np.sqrt(np.square(waveform[: 2 * FRAME]).mean()), rel=1e-5
    )


def test_automatic_cuts_at_long_silences_and_keeps_half_a_second_at_most() -> None:
    (first, second) = pieces(bursts(2.0, 3.0, 2.5))
    assert first[0] == 0
    assert 2.0 * 50 <= first[1] <= 2.5 * 50 + 1
    assert 4.5 * 50 - 1 <= second[0] <= 5.0 * 50
    assert second[1] == 7.5 * 50


def test_automatic_leaves_short_silences_inside_a_piece() -> None:
    assert pieces(bursts(1.0, 0.3, 1.0)) == [(0, 115)]


def test_silence_at_the_start_and_the_end_is_left_out() -> None:
    ((start, end),) = pieces(np.concatenate([noise(4, 0, RATE), bursts(2.0, 4.0)]))
    assert 3.5 * 50 - 1 <= start <= 4 * 50
    assert 6 * 50 <= end <= 6.5 * 50 + 1


def test_a_recording_is_cut_alike_however_loud_it_is() -> None:
    waveform = bursts(2.0, 1.0, 2.0, 0.6, 3.0, level=0.2)
    assert pieces(waveform) == pieces(0.01 * waveform)


def test_long_sound_becomes_pieces_that_overlap() -> None:
    found = pieces(bursts(10.0))
    assert found == [(0, 150), (135, 285), (270, 420), (405, 500)]
    assert covered_frames(found) == 500


def test_simple_cuts_equal_pieces_and_drops_the_tail() -> None:
    found = pieces(bursts(7.0), split_method=SplitMethod.SIMPLE, chunk_len=2.0, overlap_len=0.0)
    assert found == [(0, 100), (100, 200), (200, 300)]


def test_simple_drops_pieces_in_which_nothing_sounds() -> None:
    found = pieces(bursts(2.0, 4.1, 2.0), split_method=SplitMethod.SIMPLE, chunk_len=2.0, overlap_len=0.0)
    assert found == [(0, 100), (300, 400)]


def test_skip_keeps_a_whole_file() -> None:
    waveform = bursts(2.0, 3.0, 2.5)
    assert pieces(waveform, split_method=SplitMethod.SKIP) == [(0, 375)]


@pytest.mark.parametrize(
    "waveform", [np.zeros(0, np.float32), np.zeros(RATE, np.float32), noise(0.3, 0.1, RATE)]
)
@pytest.mark.parametrize("method", list(SplitMethod))
def test_nothing_silence_and_a_third_of_a_second_give_no_pieces(
    waveform: FloatArray, method: SplitMethod
) -> None:
    assert pieces(waveform, split_method=method) == []


@example(durations=[1.0, 0.5, 1.0], chunk_len=0.5, overlap_len=0.0)  # the silence is a piece, and left out
@given(
    durations=st.lists(st.floats(0.02, 4.0), min_size=1, max_size=8),
    chunk_len=st.floats(0.5, 5),
    overlap_len=st.floats(0, 0.4),
)
def test_every_sound_but_the_shortest_is_in_a_piece_of_the_asked_length(
    durations: list[float], chunk_len: float, overlap_len: float
) -> None:
    waveform = bursts(*durations)
    settings = PreprocessSettings(chunk_len=chunk_len, overlap_len=overlap_len)
    clips = cut(waveform, RATE, settings)
    length, overlap = round(chunk_len * 50), round(overlap_len * 50)
    covered = np.zeros(len(waveform) // FRAME, bool)
    for clip in clips:
        for left, right in pairwise(clip):
            assert left[1] - right[0] == overlap
        for start, end in clip:
            assert SHORTEST_PIECE_FRAMES <= end - start <= length + overlap
            covered[start:end] = True
    assert sum(map(covered_frames, clips)) == covered.sum()
    missed = np.flatnonzero(np.diff(np.pad(sounding(waveform, RATE) & ~covered, 1).astype(int)))
    # A burst that stands alone between long silences and is shorter than a piece may be is dropped.
    assert all(last - first < SHORTEST_PIECE_FRAMES for first, last in missed.reshape(-1, 2))
