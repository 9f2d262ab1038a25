"""Stage times with a clock of our own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def profiler(clock: Clock) -> PerformanceProfiler:
    return PerformanceProfiler(enabled=True, clock=clock)


def times(profiler: PerformanceProfiler) -> dict[str, tuple[float, int, float]]:
    return {stage.name: (stage.seconds, stage.calls, stage.share) for stage in profiler.report()}


def test_nested_stages_of_several_calls(profiler: PerformanceProfiler, clock: Clock) -> None:
    for seconds in (1.0, 2.0):
        with profiler.stage("convert"):
            clock.now += 1
            with profiler.stage("vocoder"):
                clock.now += seconds
    profiler.start("join")
    clock.now += 5
    profiler.end("join")
    assert times(profiler) == {
        "convert": (5.0, 2, 0.5),
        "convert/vocoder": (3.0, 2, 0.3),
        "join": (5.0, 1, 0.5),
    }
    assert profiler.total_seconds == 10


def test_a_stage_within_itself_is_counted_once_in_the_total(
    profiler: PerformanceProfiler, clock: Clock
) -> None:
    with profiler.stage("cut"), profiler.stage("cut"):
        clock.now += 2
    assert times(profiler) == {"cut": (2.0, 1, 1.0), "cut/cut": (2.0, 1, 1.0)}
    assert profiler.total_seconds == 2


def test_an_exception_closes_its_stages_and_passes_on(profiler: PerformanceProfiler, clock: Clock) -> None:
    def fail() -> None:
        with profiler.stage("outer"):
            profiler.start("left open")
            clock.now += 3
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with profiler.stage("after"):
        clock.now += 1
    assert times(profiler) == {
        "outer": (3.0, 1, 0.75),
        "outer/left open": (3.0, 1, 0.75),
        "after": (1.0, 1, 0.25),
    }


def test_ending_what_is_not_open_and_ambiguous_names_are_errors(profiler: PerformanceProfiler) -> None:
    with pytest.raises(ValueError, match="'join' is not open"):
        profiler.end("join")
    with pytest.raises(ValueError, match="'a/b' has a '/' in its name"):
        profiler.start("a/b")
    assert profiler.report() == []


def test_an_open_stage_is_not_reported_yet(profiler: PerformanceProfiler, clock: Clock) -> None:
    profiler.start("f0")
    clock.now += 1
    assert profiler.report() == []
    assert profiler.total_seconds == 0


def test_json_has_stages_speed_and_memory(profiler: PerformanceProfiler, clock: Clock) -> None:
    profiler.audio_seconds = 8
    with profiler.stage("f0"):
        clock.now += 2
    report = json.loads(profiler.to_json())
    assert report["stages"] == [{"name": "f0", "seconds": 2.0, "calls": 1, "share": 1.0}]
    assert (report["device"], report["total_seconds"], report["real_time_factor"]) == ("cpu", 2.0, 0.25)
    # A Python with torch in memory has more than 50 MB and less than 1 TB: the unit is right.
    assert 50e6 < report["peak_host_bytes"] < 1e12
    assert report["peak_device_bytes"] is None


def test_the_table_tells_everything_and_forgets_on_reset(profiler: PerformanceProfiler, clock: Clock) -> None:
    profiler.audio_seconds = 4
    with profiler.stage("convert"), profiler.stage("vocoder"):
        clock.now += 2
    lines = str(profiler.report()).splitlines()
    assert str(profiler).splitlines() == lines
    assert lines[1].split() == ["convert", "1", "2.000", "100.0%"]
    assert lines[2].startswith("  vocoder")
    assert lines[3].split() == ["total", "2.000", "RTF", "0.500"]
    profiler.reset()
    assert profiler.report() == []
    assert profiler.real_time_factor is None


def test_the_plot_is_a_picture(profiler: PerformanceProfiler, clock: Clock, tmp_path: Path) -> None:
    with profiler.stage("f0"):
        clock.now += 2
    profiler.plot(tmp_path / "stages.png")
    assert (tmp_path / "stages.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("enabled", [True, False])
def test_the_device_is_waited_for_only_when_enabled(monkeypatch: pytest.MonkeyPatch, enabled: bool) -> None:
    waits: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    profiler = PerformanceProfiler(enabled, torch.device("cuda:1"))
    with profiler.stage("f0"):
        pass
    assert waits == ([torch.device("cuda:1")] * 2 if enabled else [])


def test_disabled_it_measures_nothing_and_makes_nothing(clock: Clock) -> None:
    profiler = PerformanceProfiler(enabled=False, clock=clock)
    profiler.start("never closed")
    profiler.end("never opened")
    assert profiler.stage("a") is profiler.stage("b")
    assert profiler.report() == []
