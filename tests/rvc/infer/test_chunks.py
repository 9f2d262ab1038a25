"""Where audio is cut and how it is joined."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ultimate_rvc.rvc.infer import chunks as chunking
from ultimate_rvc.rvc.infer.chunks import Chunk, Joiner

RATE = chunking.SAMPLE_RATE
FloatArray = NDArray[np.float32]


@given(seconds=st.floats(0.001, 300), seed=st.integers(0, 10))
@settings(max_examples=30, deadline=None)
def test_cuts_cover_everything_once_and_lie_on_frames(seconds: float, seed: int) -> None:
    samples = max(1, int(seconds * RATE))
    loudness = (
        np.random.default_rng(seed).random(chunking.aligned_length(samples) // 320 + 1).astype(np.float32)
    )
    chunks = chunking.cut(chunking.whole(samples), loudness)
    assert chunks[0].start == 0
    assert chunks[-1].end == chunking.aligned_length(samples) >= samples
    for before, after in itertools.pairwise(chunks):
        assert before.end == after.start
    for chunk in chunks:
        assert chunk.start % 320 == chunk.end % 320 == 0
        assert 0 < chunk.length <= chunking.MAX_CHUNK_SAMPLES + chunking.SEARCH_SAMPLES


def test_the_cut_is_made_in_the_pause() -> None:
    waveform = np.random.default_rng(0).normal(size=60 * RATE).astype(np.float32)
    waveform[int(35.0 * RATE) : int(35.1 * RATE)] = 0
    first, second = chunking.cut(chunking.whole(len(waveform)), chunking.window_loudness(waveform))
    assert 35.0 <= first.end / RATE <= 35.1
    assert second.end >= len(waveform)


def test_halving_stops_at_one_second() -> None:
    loudness = np.ones(10_000, np.float32)
    waiting, smallest = [Chunk(0, 40 * RATE)], 40 * RATE
    while waiting:
        chunk = waiting.pop()
        halves = chunking.halve(chunk, loudness)
        assert sum(half.length for half in halves) in {0, chunk.length}
        smallest = min(smallest, chunk.length)
        waiting += halves
    assert 320 <= smallest < 2 * chunking.MIN_CHUNK_SAMPLES


@pytest.mark.parametrize("sample_rate", [24_000, 32_000, 40_000, 48_000])
def test_joining_pieces_of_one_waveform_gives_it_back(sample_rate: int) -> None:
    samples = 10 * RATE
    per_frame = sample_rate // 100
    pad = chunking.PAD_SAMPLES // 160 * per_frame
    whole = torch.randn(chunking.aligned_length(samples) // 160 * per_frame + 2 * pad)
    joiner = Joiner(samples, sample_rate, torch.device("cpu"))
    end = chunking.aligned_length(samples)
    for chunk in [Chunk(0, 3 * RATE), Chunk(3 * RATE, 3 * RATE + 320), Chunk(3 * RATE + 320, end)]:
        low = chunk.start // 160 * per_frame
        high = chunk.end // 160 * per_frame + 2 * pad
        joiner.add(chunk, whole[low:high])
    torch.testing.assert_close(joiner.waveform, whole[pad:-pad], atol=1e-6, rtol=0)


def test_a_gap_stays_silent_and_its_borders_are_ramps() -> None:
    joiner = Joiner(10 * RATE, 40_000, torch.device("cpu"))
    joiner.add(Chunk(2 * RATE, 4 * RATE), torch.ones(4 * 40_000))
    waveform = joiner.waveform
    assert waveform[: 2 * 40_000 - 400].abs().max() == 0
    assert waveform[4 * 40_000 + 400 :].abs().max() == 0
    assert waveform.diff().abs().max() < 0.01
    assert waveform[3 * 40_000] == 1


def test_sounding_parts_are_found_and_silence_has_none() -> None:
    waveform = np.zeros(20 * RATE, np.float32)
    assert chunking.sounding_parts(waveform) == []
    waveform[5 * RATE : 7 * RATE] = np.random.default_rng(0).normal(size=2 * RATE) * 0.1
    (part,) = chunking.sounding_parts(waveform)
    assert 4.7 * RATE <= part.start <= 5 * RATE
    assert 7 * RATE <= part.end <= 7.3 * RATE


@given(samples=st.integers(1, 5000))
@settings(deadline=None, max_examples=50)
def test_padding_gives_every_chunk_a_whole_window(samples: int) -> None:
    padded = chunking.pad_for_windows(torch.arange(samples, dtype=torch.float32)).numpy()
    chunk = chunking.whole(samples)
    assert len(padded) == chunk.length + 2 * chunk.pad + chunking.ENCODER_TAIL
    assert padded[chunk.pad] == 0
    assert padded[chunk.pad + samples - 1] == samples - 1


def test_only_a_recording_that_is_cut_has_the_long_context() -> None:
    longest = chunking.MAX_CHUNK_SAMPLES - 4
    uncut, cut = chunking.whole(longest), chunking.whole(longest + 1)
    assert (uncut.pad, cut.pad) == (chunking.REFLECTED_PAD_SAMPLES, chunking.PAD_SAMPLES)
    assert uncut.pad % chunking.FRAME_SAMPLES == cut.pad % chunking.FRAME_SAMPLES == 0
    loudness = chunking.window_loudness(np.ones(longest + 1, np.float32))
    assert {chunk.pad for chunk in chunking.cut(cut, loudness)} == {chunking.PAD_SAMPLES}
    assert {chunk.pad for chunk in chunking.halve(uncut, loudness)} == {chunking.REFLECTED_PAD_SAMPLES}


@st.composite
def recordings_with_gaps(draw: st.DrawFn) -> FloatArray:
    """Sound and silence in turn, of any length; the silence as loud as nobody hears."""
    seed, parts = draw(st.integers(0, 10)), []
    for samples, level in draw(
        st.lists(
            st.tuples(st.integers(1, 2 * RATE), st.sampled_from([0.0, 5e-4, 0.3])), min_size=1, max_size=5
        )
    ):
        noise = np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)
        parts.append(noise * np.float32(level))
    return np.concatenate(parts)


@given(waveform=recordings_with_gaps())
@settings(max_examples=60)
def test_frames_that_sound_are_those_near_a_loud_sample(waveform: FloatArray) -> None:
    sounding = chunking.sounding_frames(waveform)
    assert len(sounding) == chunking.aligned_length(len(waveform)) // 160
    loud = np.flatnonzero(np.abs(waveform) >= chunking.SILENT_BELOW) // 160
    for frame in range(len(sounding)):
        distance = np.abs(loud - frame).min(initial=10**9)
        assert sounding[frame] == (distance <= chunking.SILENCE_MARGIN_FRAMES)


@st.composite
def chunks_with_sound(draw: st.DrawFn) -> tuple[Chunk, NDArray[np.bool_]]:
    """A chunk of a recording, and for each of the recording's frames whether it sounds."""
    borders = st.integers(0, 150)
    start, length, behind = draw(borders), draw(st.integers(1, 150)), draw(borders)
    runs = draw(st.lists(st.tuples(st.booleans(), st.integers(1, 120)), min_size=1, max_size=8))
    pattern = np.concatenate([np.full(frames, sounds) for sounds, frames in runs])
    sounding = np.resize(pattern, 2 * (start + length + behind))
    return Chunk(start * chunking.FRAME_SAMPLES, (start + length) * chunking.FRAME_SAMPLES), sounding


PAD_FRAMES, FADE_FRAMES = 100, 1  # of a window: its context, and half a crossfade


def sounding_of(chunk: Chunk, sounding: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of the chunk, placed in its window; the context counts as silent."""
    window = np.zeros(chunk.window_frames, bool)
    first, last = chunk.start // 160, chunk.end // 160
    window[PAD_FRAMES : PAD_FRAMES + last - first] = sounding[first:last]
    return window


@given(case=chunks_with_sound())
@settings(max_examples=200)
def test_spans_are_in_order_apart_inside_and_cover_all_that_sounds(
    case: tuple[Chunk, NDArray[np.bool_]],
) -> None:
    chunk, sounding = case
    window = sounding_of(chunk, sounding)
    spans = chunking.wanted_spans(chunk, sounding)
    assert bool(spans) == bool(window.any())
    for start, end in spans:
        assert PAD_FRAMES - FADE_FRAMES <= start < end <= chunk.window_frames - PAD_FRAMES + FADE_FRAMES
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert start - end >= chunking.SHORTEST_GAP_FRAMES
    wanted = np.zeros(len(window), bool)
    for start, end in spans:
        wanted[start:end] = True
    assert not (window & ~wanted).any()
    # What is left out is silent; what is wanted and silent is a short gap, or half a crossfade.
    for start, end in runs_of(wanted & ~window):
        assert end - start < chunking.SHORTEST_GAP_FRAMES
    if window[PAD_FRAMES]:
        assert wanted[PAD_FRAMES - FADE_FRAMES]
    if window[-PAD_FRAMES - 1]:
        assert wanted[-PAD_FRAMES]


def runs_of(frames: NDArray[np.bool_]) -> list[tuple[int, int]]:
    borders = np.flatnonzero(np.diff(frames.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(borders[::2], borders[1::2], strict=True))


def test_without_silence_the_whole_chunk_is_wanted() -> None:
    chunk = Chunk(RATE, 3 * RATE)
    everything = [(PAD_FRAMES - FADE_FRAMES, PAD_FRAMES + 200 + FADE_FRAMES)]
    assert chunking.wanted_spans(chunk, None) == everything
    assert chunking.wanted_spans(chunk, np.ones(400, bool)) == everything


@pytest.mark.parametrize(("gap", "spans"), [(49, 1), (50, 2)])
def test_gaps_are_left_out_from_half_a_second_on(gap: int, spans: int) -> None:
    sounding = np.repeat([True, False, True], [60, gap, 200 - 60 - gap])
    assert len(chunking.wanted_spans(Chunk(0, 2 * RATE), sounding)) == spans


@given(case=chunks_with_sound(), hop_length=st.integers(1, 20))
@settings(max_examples=100)
def test_fades_touch_nothing_but_the_borders_of_gaps(
    case: tuple[Chunk, NDArray[np.bool_]], hop_length: int
) -> None:
    chunk, sounding = case
    spans = chunking.wanted_spans(chunk, sounding)
    window = torch.ones(chunk.window_frames * hop_length)
    chunking.fade_at_gaps(window, chunk, spans, hop_length)
    ((low, high),) = chunking.wanted_spans(chunk, None)
    expected = np.ones(len(window))
    ramp = np.sin((np.arange(hop_length * FADE_FRAMES) + 0.5) / (hop_length * FADE_FRAMES) * np.pi / 2) ** 2
    for start, end in spans:
        if start > low:
            expected[start * hop_length : (start + FADE_FRAMES) * hop_length] *= ramp
        if end < high:
            expected[(end - FADE_FRAMES) * hop_length : end * hop_length] *= ramp[::-1]
    np.testing.assert_allclose(window.numpy(), expected, atol=1e-6)


@given(case=chunks_with_sound())
@settings(max_examples=30)
def test_joined_spans_give_the_waveform_where_it_sounds_and_silence_in_gaps(
    case: tuple[Chunk, NDArray[np.bool_]],
) -> None:
    """Two chunks that meet, rendered as a vocoder of ones would, without what is not wanted."""
    first, sounding = case
    second = Chunk(first.end, len(sounding) * 160)
    hop_length = 320
    joiner = Joiner(second.end - 4, 100 * hop_length, torch.device("cpu"))
    for chunk in [Chunk(0, first.end), second] if second.length else [Chunk(0, first.end)]:
        spans = chunking.wanted_spans(chunk, sounding)
        window = torch.zeros(chunk.window_frames * hop_length)
        for start, end in spans:
            window[start * hop_length : end * hop_length] = 1
        chunking.fade_at_gaps(window, chunk, spans, hop_length)
        if spans:
            joiner.add(chunk, window)
    frames = joiner.waveform.reshape(-1, hop_length).numpy()
    # The border of a gap is a ramp.
    inner = np.convolve(np.pad(~sounding, 2), np.ones(5), "valid") == 0
    np.testing.assert_allclose(frames[inner], 1, atol=1e-5)
    assert joiner.waveform.max() <= 1 + 1e-5
    # Gaps that are long enough in either chunk are silent, but for half a crossfade at the cut.
    for start, end in runs_of(~sounding):
        cut = first.end // 160
        for low, high in [(start, min(end, cut)), (max(start, cut), end)]:
            if high - low >= chunking.SHORTEST_GAP_FRAMES:
                assert not frames[low + 1 : high - 1].any()
