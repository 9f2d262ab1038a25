"""Batches on a device with little memory: they shrink, and nothing is lost."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc.rvc.infer import driver as driver_module
from ultimate_rvc.rvc.infer.driver import BatchDriver

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(1, 5_000), max_size=40)


def out_of_memory() -> RuntimeError:
    return RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")


def test_results_come_with_their_items() -> None:
    items = [("a", 30), ("b", 10), ("a", 29), ("c", 400)]
    driver = BatchDriver(2, CPU)
    results = list(
        driver.run(
            items, lambda batch: [f"{name}{length}" for name, length in batch], frames=lambda item: item[1]
        )
    )
    assert sorted(results) == [
        (("a", 29), "a29"),
        (("a", 30), "a30"),
        (("b", 10), "b10"),
        (("c", 400), "c400"),
    ]
    assert results[0][0] == ("c", 400)


@given(lengths=LENGTHS, batch_size=st.integers(1, 16), room=st.integers(5_000, 30_000))
def test_batches_shrink_until_they_fit_and_stay_small(lengths: list[int], batch_size: int, room: int) -> None:
    """A device that holds so many frames, padding included."""
    sizes: list[tuple[int, bool]] = []

    def compute(batch: Sequence[int]) -> list[int]:
        fits = len(batch) * max(batch) <= room
        sizes.append((len(batch), fits))
        if not fits:
            raise out_of_memory()
        return [-length for length in batch]

    driver = BatchDriver(batch_size, CPU)
    results = list(driver.run(lengths, compute, frames=int))
    assert sorted(item for item, _ in results) == sorted(lengths)
    assert all(result == -item for item, result in results)
    allowed = batch_size
    for size, fits in sizes:
        assert size <= allowed
        allowed = allowed if fits else size // 2
    assert driver.batch_size == allowed


def test_the_smaller_size_is_said_and_kept_for_the_next_file(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[torch.device] = []
    monkeypatch.setattr(driver_module, "release_cached_memory", released.append)
    sizes: list[int] = []

    def compute(batch: Sequence[int]) -> Sequence[int]:
        sizes.append(len(batch))
        if len(batch) > 3:
            raise MemoryError
        return batch

    driver = BatchDriver(8, CPU)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert list(driver.run([100] * 8, compute, frames=int)) == [(100, 100)] * 8
    assert sizes == [8, 4, *[2] * 8]
    assert released == [CPU, CPU]
    assert [record.getMessage() for record in caplog.records] == [
        "Out of memory on cpu with a batch of 8; trying 4.",
        "Out of memory on cpu with a batch of 4; trying 2.",
    ]


def test_an_item_that_does_not_fit_alone_is_the_callers_business() -> None:
    def compute(batch: Sequence[int]) -> Sequence[int]:
        if sum(batch) > 100:
            raise out_of_memory()
        return batch

    with pytest.raises(RuntimeError, match="MPS backend out of memory"):
        list(BatchDriver(4, CPU).run([90, 101], compute, frames=int))

    def halves(length: int) -> list[int]:
        if length < 50:
            raise OverflowError(length)
        return [length // 2, length - length // 2]

    driver = BatchDriver(4, CPU)
    assert sorted(item for item, _ in driver.run([90, 301], compute, frames=int, split=halves)) == sorted(
        [90, 75, 75, 75, 76]
    )
    with pytest.raises(OverflowError):
        list(driver.run([10], lambda batch: compute([1_000]), frames=int, split=halves))


def test_other_errors_are_not_taken_for_lack_of_memory() -> None:
    calls: list[int] = []

    def compute(batch: Sequence[int]) -> Sequence[int]:
        calls.append(len(batch))
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        list(BatchDriver(4, CPU).run([1, 2, 3], compute, frames=int))
    assert calls == [3]


def test_a_failed_attempt_leaves_nothing_in_memory() -> None:
    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    def compute(batch: Sequence[int]) -> Sequence[int]:
        assert all(reference() is None for reference in held)
        kept = Held()
        held.append(weakref.ref(kept))
        if len(batch) > 1:
            raise out_of_memory()
        return batch

    assert len(list(BatchDriver(4, CPU).run([1, 2, 3, 4], compute, frames=int))) == 4
