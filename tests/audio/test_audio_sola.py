"""Are blocks joined without clicks, wherever they were cut and whatever their phase?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ultimate_rvc.audio.sola import BlockJoiner, best_offset

RATE = 16_000
BLOCK, CROSSFADE, SEARCH = 1600, 400, 160

FloatArray = NDArray[np.float32]


def joined(joiner: BlockJoiner, blocks: list[FloatArray]) -> FloatArray:
    return np.concatenate([joiner.join(block) for block in blocks])


@given(
    seed=st.integers(0, 1000),
    block=st.integers(100, 900),
    crossfade=st.integers(2, 99),
    half_search=st.integers(0, 40),
)
@settings(max_examples=30, deadline=None)
def test_overlapping_parts_of_one_sound_give_it_back(
    seed: int, block: int, crossfade: int, half_search: int
) -> None:
    joiner = BlockJoiner(block, crossfade, 2 * half_search)
    sound = np.random.default_rng(seed).normal(size=8 * block + 300).astype(np.float32)
    parts = [sound[start : start + joiner.input_samples] for start in range(0, 6 * block, block)]
    result = joined(joiner, parts)
    expected = sound[half_search : half_search + len(result)]
    np.testing.assert_allclose(result[crossfade:], expected[crossfade:], atol=1e-5)


@given(f0_hz=st.floats(110, 800), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_tone_that_begins_anew_in_every_block_has_no_click(f0_hz: float, seed: int) -> None:
    """A whole period fits into the search, so blocks of any phase can be laid on one another."""
    random = np.random.default_rng(seed)
    joiner = BlockJoiner(BLOCK, CROSSFADE, SEARCH)
    time = np.arange(joiner.input_samples) / RATE
    blocks = [np.sin(2 * np.pi * (f0_hz * time + random.random())).astype(np.float32) for _ in range(6)]
    result = joined(joiner, blocks)[CROSSFADE:]
    steepest = 2 * np.sin(np.pi * f0_hz / RATE)
    assert np.abs(np.diff(result)).max() < 1.05 * steepest
    envelope = np.abs(result).reshape(-1, 400).max(axis=1)
    assert envelope.min() > 0.93  # and no hole, as of waves that cancel each other


def test_it_rises_from_silence_and_falls_back_to_it() -> None:
    joiner = BlockJoiner(BLOCK, CROSSFADE, SEARCH)
    ones, zeros = np.ones((2, joiner.input_samples), np.float32), np.zeros(joiner.input_samples, np.float32)
    result = joined(joiner, [zeros, ones[0], ones[1], zeros, zeros])
    assert np.abs(np.diff(result)).max() < 2 / CROSSFADE * np.pi / 2
    assert result[:BLOCK].max() == result[-BLOCK:].max() == 0
    assert result[2 * BLOCK : 3 * BLOCK] == pytest.approx(1)


def test_after_silence_it_begins_in_the_middle_of_the_search_again() -> None:
    joiner = BlockJoiner(BLOCK, CROSSFADE, SEARCH)
    noise = np.random.default_rng(0).normal(size=joiner.input_samples + 50).astype(np.float32)
    joiner.join(noise[50:])
    joiner.join(np.concatenate((np.zeros(0, np.float32), np.roll(noise, -BLOCK)))[: joiner.input_samples])
    assert joiner.offset != SEARCH // 2
    joiner.join(np.zeros(joiner.input_samples, np.float32))
    joiner.join(np.zeros(joiner.input_samples, np.float32))
    assert joiner.offset == SEARCH // 2


def test_the_usual_place_is_kept_where_no_other_is_better() -> None:
    assert best_offset(np.ones(30, np.float32), np.ones(20, np.float32), 7) == 7
