"""Which pieces a step has, and which random numbers: the same however often and in how many processes."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc.rvc.train.draws import ExampleDraws
from ultimate_rvc.rvc.train.order import BUCKET_FRAMES, epoch_batches, share_of

LENGTHS = st.lists(st.integers(1, 700), min_size=1, max_size=60)


@given(frames=LENGTHS, batch_size=st.integers(1, 9), epoch=st.integers(0, 5))
def test_an_epoch_has_every_piece_and_only_full_batches(
    frames: list[int], batch_size: int, epoch: int
) -> None:
    batches = epoch_batches(frames, batch_size, seed=1234, epoch=epoch)
    assert all(len(batch) == batch_size for batch in batches)
    assert len(batches) == -(-len(frames) // batch_size)
    assert set().union(*batches) == set(range(len(frames)))
    repeated = len(batches) * batch_size - len(frames)
    times = Counter(piece for batch in batches for piece in batch)
    assert sum(count - 1 for count in times.values()) == repeated


@given(frames=LENGTHS, epoch=st.integers(0, 5))
def test_an_epoch_is_the_same_whenever_it_is_asked_for(frames: list[int], epoch: int) -> None:
    first = epoch_batches(frames, 4, seed=7, epoch=epoch)
    epoch_batches(frames, 4, seed=7, epoch=epoch + 1)
    assert epoch_batches(frames, 4, seed=7, epoch=epoch) == first


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    frames = [300] * 64
    orders = [epoch_batches(frames, 4, seed=seed, epoch=epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert len({str(order) for order in orders}) == 4


def test_pieces_of_a_batch_have_similar_lengths() -> None:
    frames = [40 + 4 * number for number in range(160)]
    batches = epoch_batches(frames, 8, seed=3, epoch=0)
    spans = [
        max(frames[piece] for piece in batch) - min(frames[piece] for piece in batch) for batch in batches
    ]
    assert max(spans) < 2 * BUCKET_FRAMES
    assert sorted(spans)[len(spans) // 2] < BUCKET_FRAMES


def test_without_pieces_there_is_no_epoch() -> None:
    with pytest.raises(ValueError, match="no pieces"):
        epoch_batches([], 4, seed=1, epoch=0)


def test_processes_share_a_batch_evenly() -> None:
    shares = [share_of([5, 6, 7, 8, 9, 4], process, 3) for process in range(3)]
    assert shares == [[0, 1], [2, 3], [4, 5]]


@given(
    lengths=st.lists(st.integers(1, 30), min_size=2, max_size=6),
    seed=st.integers(0, 2**31 - 1),
    step=st.integers(0, 10**6),
)
def test_an_example_draws_the_same_alone_as_beside_others(lengths: list[int], seed: int, step: int) -> None:
    together = ExampleDraws(seed, step, range(len(lengths)), lengths)
    frames = max(lengths)
    uniform = together.uniform((len(lengths),), None)
    normal = together.normal((len(lengths), 3, frames), 2)
    for place, length in enumerate(lengths):
        alone = ExampleDraws(seed, step, [place], [length])
        assert torch.equal(alone.uniform((1,), None)[0], uniform[place])
        assert torch.equal(alone.normal((1, 3, length), 2)[0], normal[place, :, :length])
        assert not normal[place, :, length:].any()


def test_steps_seeds_and_places_draw_different_numbers() -> None:
    draws = [ExampleDraws(*key, [place], [50]) for key in ((1, 1), (1, 2), (2, 1)) for place in (0, 1)]
    first = {float(draw.uniform((1,), None)) for draw in draws}
    assert len(first) == 6


def test_drawn_numbers_are_normal_and_uniform() -> None:
    draws = ExampleDraws(5, 0, range(4), [1000, 1000, 1000, 1000])
    normal, uniform = draws.normal((4, 50, 1000), 2), draws.uniform((4, 1000), 1)
    assert abs(float(normal.mean())) < 0.01
    assert abs(float(normal.std()) - 1) < 0.01
    assert 0 <= float(uniform.min()) < 0.01 < 0.99 < float(uniform.max()) < 1
