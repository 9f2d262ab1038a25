"""What is known of this machine: measured once, kept, corrected by what work took."""

from __future__ import annotations

import pytest
import torch

from ultimate_rvc import machine
from ultimate_rvc.machine import Cost, Load, this_machine
from ultimate_rvc.paths import home_dir

CPU = torch.device("cpu")
SLOW = {Load.MATRICES.value: 2.0, Load.CONVOLUTIONS.value: 3.0}


def measured_once() -> tuple[list[torch.device], machine.Machine]:
    asked: list[torch.device] = []

    def measure(device: torch.device) -> dict[str, float]:
        asked.append(device)
        return SLOW

    this_machine(CPU, measure)
    return asked, this_machine(CPU, measure)


@pytest.fixture(autouse=True)
def nothing_measured() -> None:
    machine.forget()


def test_a_machine_is_measured_once() -> None:
    asked, known = measured_once()
    assert asked == [CPU]
    assert known.slowness == SLOW
    assert known.is_cpu


def test_a_measurement_is_a_ratio_over_zero() -> None:
    slowness = machine.measured_slowness(CPU)
    assert set(slowness) == {load.value for load in Load} - {Load.BOTH.value}
    assert all(0.001 < value < 1000 for value in slowness.values())


def test_costs_follow_the_load_until_the_work_was_done_here() -> None:
    _, known = measured_once()
    cost = Cost(Load.CONVOLUTIONS, 0.4)
    assert known.rate("vocals", cost) == pytest.approx(1.2)
    known.note("vocals", 30.0, 60.0)
    assert this_machine(CPU).rate("vocals", cost) == pytest.approx(0.5)
    known.note("vocals", 60.0, 60.0)
    assert this_machine(CPU).rate("vocals", cost) == pytest.approx(0.75)


def test_work_of_both_kinds_is_as_slow_as_their_mean() -> None:
    _, known = measured_once()
    assert known.rate("vocals", Cost(Load.BOTH, 0.4)) == pytest.approx(0.4 * (2.0 + 3.0) / 2)


def test_short_work_says_nothing_of_long_work() -> None:
    _, known = measured_once()
    known.note("vocals", 30.0, 2.0)
    assert this_machine(CPU).rates == {}


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": 0, "machines": []}', "\0\0"])
def test_a_file_of_another_kind_is_measured_again(content: str) -> None:
    measured_once()
    (home_dir() / machine.FILE_NAME).write_text(content, encoding="utf-8")
    asked, known = measured_once()
    assert asked == [CPU]
    assert known.slowness == SLOW


def test_forgetting_measures_again() -> None:
    measured_once()
    machine.forget()
    assert measured_once()[0] == [CPU]
