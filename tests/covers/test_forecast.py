"""Which quality is chosen for a song on a machine, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc.choices import Quality, StepSwitch
from ultimate_rvc.covers.forecast import comparable_seconds, duration, forecast, work_name
from ultimate_rvc.covers.settings import StemSettings
from ultimate_rvc.machine import Load, Machine
from ultimate_rvc.separation.models import SEPARATION_MODELS, SeparationTask
from ultimate_rvc.separation.qualities import PLANS

SONG_SECONDS = 180.0


def a_machine(slowness: float, device: str = "cpu: 2 threads") -> Machine:
    return Machine(device, {load.value: slowness for load in Load})


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder, a network where models could be had from."""
    monkeypatch.setenv("URVC_MODELS_DIR", str(tmp_path))
    monkeypatch.delenv("URVC_OFFLINE", raising=False)
    return tmp_path / "separation"


def present(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / SEPARATION_MODELS[name].file_name).write_bytes(b"")


@pytest.mark.parametrize(
    ("slowness", "quality"),
    [(0.01, Quality.BEST), (0.6, Quality.BALANCED), (50.0, Quality.FAST)],
)
def test_auto_takes_the_best_that_ends_with_the_song(slowness: float, quality: Quality) -> None:
    looked_ahead = forecast(SONG_SECONDS, Quality.AUTO, StemSettings(), a_machine(slowness))
    assert looked_ahead.quality is quality
    assert looked_ahead.plan == PLANS[quality]
    in_time = [each for each, seconds in looked_ahead.seconds.items() if seconds <= SONG_SECONDS]
    assert quality == (in_time[-1] if in_time else Quality.FAST)


def test_a_gpu_is_given_a_third_of_the_time() -> None:
    slowness = 0.07
    assert forecast(SONG_SECONDS, Quality.AUTO, StemSettings(), a_machine(slowness)).quality is Quality.BEST
    on_gpu = forecast(SONG_SECONDS, Quality.AUTO, StemSettings(), a_machine(slowness, "cuda: some"))
    assert on_gpu.seconds[Quality.BEST] > SONG_SECONDS / 3
    assert on_gpu.quality is Quality.BALANCED


@given(slowness=st.floats(0.001, 100), seconds=st.floats(1, 4000))
def test_better_takes_longer_and_longer_songs_too(slowness: float, seconds: float) -> None:
    times = forecast(seconds, Quality.BEST, StemSettings(), a_machine(slowness)).seconds
    assert times[Quality.FAST] < times[Quality.BALANCED] < times[Quality.BEST]
    longer = forecast(2 * seconds, Quality.BEST, StemSettings(), a_machine(slowness)).seconds
    assert all(times[quality] < longer[quality] < 2 * times[quality] for quality in times)


def test_the_choice_does_not_change_with_what_earlier_covers_took() -> None:
    machine = a_machine(1.0)
    first = forecast(SONG_SECONDS, Quality.AUTO, StemSettings(), machine)
    for task, model in first.plan.models.items():
        machine.rates[work_name(task, model, first.plan)] = 20.0
    later = forecast(SONG_SECONDS, Quality.AUTO, StemSettings(), machine)
    assert later.quality is first.quality
    assert later.seconds[later.quality] > 10 * first.seconds[first.quality]


def test_without_a_network_auto_takes_what_is_here(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URVC_OFFLINE", "1")
    machine = a_machine(0.6)
    present(models, "vocals")
    assert forecast(SONG_SECONDS, Quality.AUTO, StemSettings(), machine).quality is Quality.BEST
    present(models, "demucs")
    assert forecast(SONG_SECONDS, Quality.AUTO, StemSettings(), machine).quality is Quality.BALANCED


def test_models_and_steps_of_ones_own_are_part_of_every_quality() -> None:
    stems = StemSettings(
        vocals_model="dsp", split_backing=StepSwitch.OFF, remove_reverb=StepSwitch.ON, overlap=0.5
    )
    for quality in PLANS:
        plan = forecast(SONG_SECONDS, quality, stems, a_machine(1.0)).plan
        assert plan.models[SeparationTask.VOCALS] == "dsp"
        assert SeparationTask.LEAD not in plan.models
        assert plan.models[SeparationTask.REVERB] == PLANS[Quality.BEST].models[SeparationTask.REVERB]
        assert plan.effort.overlap == 0.5
    split = StemSettings(split_backing=StepSwitch.ON)
    plan = forecast(SONG_SECONDS, Quality.FAST, split, a_machine(1.0)).plan
    assert plan.models[SeparationTask.LEAD] == PLANS[Quality.BALANCED].models[SeparationTask.LEAD]
    named = StemSettings(reverb_model="vr-dereverb")
    plan = forecast(SONG_SECONDS, Quality.FAST, named, a_machine(1.0)).plan
    assert plan.models[SeparationTask.REVERB] == "vr-dereverb"


def test_what_work_took_gives_its_own_time_as_the_next_estimate() -> None:
    machine = a_machine(1.0)
    plan = PLANS[Quality.BEST]
    before = forecast(SONG_SECONDS, Quality.BEST, StemSettings(), machine).seconds[Quality.BEST]
    took = {work_name(task, model, plan): 600.0 for task, model in plan.models.items()}
    for work, seconds in took.items():
        machine.rates[work] = comparable_seconds(work, seconds, plan, SONG_SECONDS) / SONG_SECONDS
    after = forecast(SONG_SECONDS, Quality.BEST, StemSettings(), machine).seconds[Quality.BEST]
    assert 0 < after - sum(took.values()) < before  # what is left is loading, conversion and mixing


def test_a_processor_with_bfloat16_is_faster_unless_stems_are_to_be_exact() -> None:
    plain, rounding = a_machine(1.0), replace(a_machine(1.0), has_bfloat16=True)
    exact = StemSettings(exact_stems=True)
    best = [
        forecast(SONG_SECONDS, Quality.BEST, stems, machine).seconds[Quality.BEST]
        for stems, machine in ((StemSettings(), plain), (StemSettings(), rounding), (exact, rounding))
    ]
    assert best[1] < 0.6 * best[0]
    assert best[2] == best[0]


def test_a_roformer_computes_whole_chunks() -> None:
    """Eight seconds each, a new one every 7.5, half a second around the song: the third begins beyond 14 seconds."""
    two, still_two, three = (
        forecast(seconds, Quality.BEST, StemSettings(), a_machine(1.0)).seconds
        for seconds in (8.0, 13.9, 14.1)
    )
    assert still_two[Quality.BEST] - two[Quality.BEST] < 6  # what is converted and mixed for six seconds more
    assert three[Quality.BEST] - still_two[Quality.BEST] > 8


def test_what_exact_work_took_says_nothing_of_other_work() -> None:
    machine = replace(a_machine(1.0), has_bfloat16=True)
    exact = forecast(SONG_SECONDS, Quality.BEST, StemSettings(exact_stems=True), machine)
    before = forecast(SONG_SECONDS, Quality.BEST, StemSettings(), machine).seconds
    for task, model in exact.plan.models.items():
        machine.rates[work_name(task, model, exact.plan)] = 100.0
    assert forecast(SONG_SECONDS, Quality.BEST, StemSettings(), machine).seconds == before
    assert (
        exact.seconds != forecast(SONG_SECONDS, Quality.BEST, StemSettings(exact_stems=True), machine).seconds
    )


def test_the_sentence_says_what_is_done_and_what_else_there_is() -> None:
    sentence = forecast(SONG_SECONDS, Quality.AUTO, StemSettings(), a_machine(0.6)).sentence
    assert sentence.startswith("Quality balanced (auto): about ")
    assert "fast would take about" in sentence
    assert "best would take about" in sentence
    assert "(auto)" not in forecast(SONG_SECONDS, Quality.FAST, StemSettings(), a_machine(1.0)).sentence


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "about 10 seconds"), (44, "about 40 seconds"), (95, "about 2 minutes"), (2300, "about 38 minutes"),
     (9000, "about 2.5 hours")],
)  # fmt: skip
def test_durations_are_as_exact_as_a_guess(seconds: float, words: str) -> None:
    assert duration(seconds) == words
