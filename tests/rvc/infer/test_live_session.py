"""A live conversion beside a clock, without one: what waits, what is thrown away, what is played."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ultimate_rvc.errors import AudioError
from ultimate_rvc.rvc.infer.live_session import MOST_WAITING, LiveSession, LoadMeter, Outlet

BLOCK = 100


def converter(convert: Any = lambda block: -block) -> Any:
    return SimpleNamespace(block_samples=BLOCK, block_seconds=0.1, convert_block=convert)


def test_samples_of_any_length_become_blocks_in_their_order() -> None:
    delivered: list[Any] = []
    recorded: list[Any] = []
    session = LiveSession(converter(), delivered.append, recorded.append)
    sound = np.arange(2 * BLOCK, dtype=np.float32)
    for part in np.split(sound, [1, 30, 130, 131]):
        session.put(part)
    session.close()
    np.testing.assert_array_equal(np.concatenate(delivered), -sound)
    np.testing.assert_array_equal(np.concatenate(recorded), -sound)
    assert (session.figures().blocks, session.figures().skipped) == (2, 0)


def test_when_too_many_blocks_wait_the_oldest_is_thrown_away() -> None:
    begun, may_end = threading.Event(), threading.Event()
    delivered: list[Any] = []

    def convert(block: Any) -> Any:
        begun.set()
        may_end.wait()
        return block

    session = LiveSession(converter(convert), delivered.append)
    session.put(np.full(BLOCK, 0, np.float32))
    begun.wait()  # it is converted now; all others wait
    for number in range(1, MOST_WAITING + 3):
        session.put(np.full(BLOCK, number, np.float32))
    may_end.set()
    session.close()
    assert [int(block[0]) for block in delivered] == [0, *range(3, MOST_WAITING + 3)]
    assert session.figures().skipped == 2


def test_what_ends_a_conversion_is_told() -> None:
    def convert(block: Any) -> Any:
        raise AudioError("broken")

    session = LiveSession(converter(convert), lambda _: None)
    session.put(np.zeros(BLOCK, np.float32))
    session.close()
    with pytest.raises(AudioError, match="broken"):
        session.check()


def test_load_is_time_by_length() -> None:
    meter = LoadMeter(0.25)
    assert meter.figures().load == 0
    for seconds in (0.1, 0.2, 0.3):
        meter.note(seconds)
    figures = meter.figures(skipped=4)
    assert figures.load == pytest.approx(0.8)
    assert figures.highest_load == pytest.approx(1.2)
    assert (figures.blocks, figures.skipped) == (3, 4)


def test_the_outlet_keeps_a_reserve_and_counts_gaps_once() -> None:
    outlet = Outlet(BLOCK, reserve=20)
    assert outlet.take(30).max() == 0
    assert outlet.drop_outs == 0  # nothing has come yet
    outlet.put(np.ones(BLOCK, np.float32))
    played = np.concatenate([outlet.take(40) for _ in range(3)])
    np.testing.assert_array_equal(played, np.r_[np.zeros(20), np.ones(BLOCK)])
    outlet.take(40)
    outlet.take(40)
    assert outlet.drop_outs == 1
    outlet.put(np.ones(BLOCK, np.float32))
    assert outlet.take(25).sum() == 5  # with its reserve again


def test_a_delay_does_not_grow_for_ever() -> None:
    outlet = Outlet(BLOCK, reserve=20)
    for number in range(5):
        outlet.put(np.full(BLOCK, number, np.float32))
    assert outlet.drop_outs > 0
    assert outlet.take(1000).nonzero()[0].max() < 2 * BLOCK + 20
