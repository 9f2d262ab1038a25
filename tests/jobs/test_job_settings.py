"""Whose turn it is, how far a job is, and how the queue is set up."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc.errors import SettingError
from ultimate_rvc.jobs.schedule import FairOrder
from ultimate_rvc.jobs.settings import QueueSettings
from ultimate_rvc.jobs.time_left import overall_fraction, seconds_left

SHARES = {"a": 0.5, "b": 0.25, "c": 0.25}

clients = st.lists(st.sampled_from("abc"), max_size=30)


def order_of(names: str) -> FairOrder:
    order = FairOrder()
    for number, client in enumerate(names):
        order.add(client, number)
    return order


def taken(order: FairOrder) -> list[int]:
    turns = []
    while (job_id := order.take()) is not None:
        turns.append(job_id)
    return turns


@given(clients)
def test_each_client_keeps_its_order_and_none_waits_for_two_of_another(names: list[str]) -> None:
    order = order_of("".join(names))
    expected = list(order)
    turns = taken(order)
    assert turns == expected
    assert sorted(turns) == list(range(len(names)))
    for client in set(names):
        own = [job for job in turns if names[job] == client]
        assert own == sorted(own)
        for first, second in pairwise(own):
            between = Counter(names[job] for job in turns[turns.index(first) + 1 : turns.index(second)])
            assert all(count == 1 for count in between.values())


@given(clients, st.data())
def test_what_is_removed_has_no_turn(names: list[str], data: st.DataObject) -> None:
    order = order_of("".join(names))
    gone = data.draw(st.sets(st.integers(0, 40)))
    assert {job for job in gone if order.remove(job)} == gone & set(range(len(names)))
    assert set(taken(order)) == set(range(len(names))) - gone


def test_what_does_not_fit_keeps_its_place() -> None:
    order = order_of("aab")
    assert order.take(lambda job: job == 1) == 1
    assert taken(order) == [2, 0]  # a had its turn
    assert order.take() is None


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "download"]), st.floats(0, 1))))
def test_the_whole_never_goes_back(reports: list[tuple[str, float]]) -> None:
    whole = 0.0
    for step, fraction in reports:
        later = overall_fraction(SHARES, step, fraction, whole)
        assert whole <= later <= 1
        whole = later


def test_the_whole_is_the_sum_of_the_steps() -> None:
    assert overall_fraction(SHARES, "b", 0.5, 0.0) == 0.625
    assert overall_fraction(SHARES, "download", 0.5, 0.3) == 0.3
    assert overall_fraction({}, "anything", 0.5, 0.0) == 0.5


def test_the_time_left_follows_from_the_time_so_far() -> None:
    assert seconds_left(10, 0.25) == 30
    assert seconds_left(10, 1.0) == 0
    assert seconds_left(0.5, 0.5) is None
    assert seconds_left(100, 0.0) is None


@pytest.mark.parametrize(
    ("environment", "slots", "idle_seconds"),
    [
        ({}, ("auto",), 600),
        ({"URVC_JOB_SLOTS": "2", "URVC_IDLE_SECONDS": "30"}, ("auto", "auto"), 30),
        ({"URVC_JOB_SLOTS": "CUDA:0, cuda:1"}, ("cuda:0", "cuda:1"), 600),
    ],
)
def test_the_environment_sets_slots_and_idle_time(
    environment: dict[str, str], slots: tuple[str, ...], idle_seconds: float
) -> None:
    settings = QueueSettings.from_env(environment)
    assert (settings.slots, settings.idle_seconds) == (slots, idle_seconds)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("URVC_JOB_SLOTS", "0"), ("URVC_JOB_SLOTS", "17"), ("URVC_JOB_SLOTS", "tpu"), ("URVC_JOB_SLOTS", "cpu,")]
    + [("URVC_IDLE_SECONDS", value) for value in ("0", "soon", "nan", "1e9")],
)
def test_what_is_no_setting_is_told(variable: str, value: str) -> None:
    with pytest.raises(SettingError):
        QueueSettings.from_env({variable: value})
