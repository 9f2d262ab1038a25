"""Where audio is cut and how it is joined."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ultimate_rvc.rvc.infer import chunks as chunking
from ultimate_rvc.rvc.infer.chunks import Chunk, Joiner

RATE = chunking.SAMPLE_RATE


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
    assert len(padded) == chunk.length + 2 * chunking.PAD_SAMPLES + chunking.ENCODER_TAIL
    assert padded[chunking.PAD_SAMPLES] == 0
    assert padded[chunking.PAD_SAMPLES + samples - 1] == samples - 1
