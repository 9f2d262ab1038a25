"""One job on several devices: the same result, whoever computes what, and whatever goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onnx_voices import write_onnx_voice
from small_pipeline import (
    LevelEncoder,
    cpu_with,
    quick_float16,
    small_pipeline,
    snr_db,
    tone,
    use_short_chunks,
    use_simple_pitch,
)
from small_synthesizer import PHONE_DIM, small_synthesizer
from ultimate_rvc.errors import CancelledError, SettingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.chunks import Chunk, Joiner
from ultimate_rvc.rvc.infer.optimization.several_devices import in_parallel, threads_each
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.infer.windows import Recording, Window, windows_on
from ultimate_rvc.switches import OptimizationConfig
from voice_factory import write_voice

CPU, META = torch.device("cpu"), torch.device("meta")
SETTINGS = ConversionSettings(seed=3)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many for one device as for each of two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- sharing -------------------------------------------------------------------------------------


def test_results_come_in_order_and_each_worker_has_one_batch_at_a_time() -> None:
    busy: set[str] = set()
    did: list[str] = []

    def compute(worker: str, batch: int) -> tuple[int, int]:
        assert worker not in busy
        busy.add(worker)
        time.sleep(0.02 if batch == 0 else 0.001)
        busy.remove(worker)
        did.append(worker)
        return batch, torch.get_num_threads()

    before = torch.get_num_threads()
    results = list(in_parallel(["a", "b"], range(12), compute, threads=1))
    assert results == [(batch, 1) for batch in range(12)]
    assert set(did) == {"a", "b"}
    assert torch.get_num_threads() == before


def test_what_one_worker_raises_ends_the_job_and_drops_the_rest() -> None:
    begun: list[int] = []

    def compute(worker: str, batch: int) -> int:
        begun.append(batch)
        if batch == 1:
            raise ValueError("no room")
        time.sleep(0.05)
        return batch

    before, found, there = torch.get_num_threads(), [], set(threading.enumerate())
    with pytest.raises(ValueError, match="no room"):
        found.extend(in_parallel(["a", "b"], range(50), compute, threads=1))
    assert len(begun) < 50
    assert torch.get_num_threads() == before
    assert not set(threading.enumerate()) - there  # other tests may have left some


def test_processors_that_are_several_share_torchs_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    gpu = torch.device("cuda", 0)
    assert [threads_each(devices) for devices in ([CPU] * 2, [CPU] * 3, [CPU] * 9, [gpu, gpu])] == [
        4,
        2,
        1,
        8,
    ]


def test_a_recording_is_brought_to_a_device_once() -> None:
    padded, f0_hz = torch.rand(48_000), torch.rand(300)
    recording = Recording(
        "", np.zeros(16_000, np.float32), padded, f0_hz, 0, SETTINGS, Joiner(16_000, 4000, CPU)
    )
    windows = [Window(recording, Chunk(start, start + 3200), ((0, 10),)) for start in (0, 3200)]
    known: dict[Recording, Recording] = {}
    there = windows_on(META, windows, known)
    assert [window.samples_16k.device for window in there] == [META, META]
    assert there[0].f0_hz is not None
    assert there[0].f0_hz.device == META
    assert there[0].recording is there[1].recording
    assert there[0].recording.joiner is recording.joiner
    assert [each.chunk for each in there] == [each.chunk for each in windows]
    assert windows_on(CPU, windows, known)[0].recording is recording


# --- a pipeline ----------------------------------------------------------------------------------


def two_lanes(config: OptimizationConfig, **parts: Any) -> Pipeline:
    """A small pipeline on two processors, each with networks of its own."""
    first = small_pipeline(optimization=config, **parts)
    first._open_helpers = [partial(small_pipeline, optimization=config, **parts)]
    return first


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "config",
    [
        OptimizationConfig(),
        OptimizationConfig(batch_size=2),
        OptimizationConfig(fast_vocoder=True, skip_silence=True, enable_profiling=True),
    ],
    ids=["plain", "batches", "in force"],
)
def test_two_devices_give_the_bytes_of_one(
    monkeypatch: pytest.MonkeyPatch, config: OptimizationConfig
) -> None:
    use_simple_pitch(monkeypatch)
    use_short_chunks(monkeypatch)
    waveform = tone(21.3)
    alone, shared = small_pipeline(optimization=config), two_lanes(config)
    expected, _ = alone.convert(waveform, 16_000, SETTINGS)
    for _ in range(2):
        converted, _ = shared.convert(waveform, 16_000, SETTINGS)
        assert np.array_equal(converted, expected)
    (helper,) = shared._helpers
    batches = [
        each.encoder.batches for each in (alone, shared, helper) if isinstance(each.encoder, LevelEncoder)
    ]
    assert sorted(batches[1] + batches[2]) == sorted(batches[0] * 2)
    assert batches[1]
    assert batches[2]
    if config.enable_profiling:
        assert {"encode", "synthesize", "join"} <= {stage.name for stage in shared.profiler.report()}


@pytest.mark.usefixtures("one_thread")
def test_features_of_both_devices_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    use_simple_pitch(monkeypatch)
    use_short_chunks(monkeypatch)
    config = OptimizationConfig(feature_cache=True)
    shared, alone = two_lanes(config), small_pipeline(optimization=config)
    expected, _ = shared.convert(tone(9.0), 16_000, SETTINGS)
    for again in (shared, alone):
        assert np.array_equal(again.convert(tone(9.0), 16_000, SETTINGS)[0], expected)
    encoders = [pipeline.encoder for pipeline in (shared, *shared._helpers, alone)]
    encoded = [len(encoder.batches) for encoder in encoders if isinstance(encoder, LevelEncoder)]
    assert encoded[0] > 0
    assert encoded[1] > 0
    assert encoded[2] == 0  # all of it was found


def test_a_recording_of_one_chunk_opens_no_other_device(monkeypatch: pytest.MonkeyPatch) -> None:
    use_simple_pitch(monkeypatch)
    shared = two_lanes(OptimizationConfig())
    shared._open_helpers = [lambda: pytest.fail("opened")]
    converted, _ = shared.convert(tone(1.0), 16_000, SETTINGS)
    assert np.abs(converted).max() > 0


class DoubtfulRetriever:
    """Draws nothing nearer, and doubts its first search."""

    dim, size = PHONE_DIM, 10

    def __init__(self) -> None:
        self.needs_exact: torch.Tensor | None = None
        self.asked: list[bool] = []

    def forget_doubts(self) -> None:
        self.needs_exact = None

    def blend(self, features: torch.Tensor, index_rate: float, *, exact: bool = False) -> torch.Tensor:
        self.asked.append(exact)
        if not exact:
            self.needs_exact = torch.tensor(True)
            return features + 100
        return features


@pytest.mark.usefixtures("one_thread")
def test_doubts_on_one_device_have_all_windows_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    use_simple_pitch(monkeypatch)
    use_short_chunks(monkeypatch)
    expected, _ = small_pipeline().convert(tone(9.0), 16_000, SETTINGS)
    certain, doubtful = DoubtfulRetriever(), DoubtfulRetriever()
    shared = small_pipeline(retriever=certain)
    shared._open_helpers = [partial(small_pipeline, retriever=doubtful)]
    converted, _ = shared.convert(tone(9.0), 16_000, SETTINGS)
    assert np.array_equal(converted, expected)
    asked = certain.asked + doubtful.asked
    assert asked.count(True) == asked.count(False) > 2


@pytest.mark.usefixtures("one_thread")
def test_what_overflows_on_any_device_is_computed_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_simple_pitch(monkeypatch)
    use_short_chunks(monkeypatch)
    cpu_with(monkeypatch, "amx_fp16")
    quick_float16(monkeypatch)
    config = OptimizationConfig(use_fp16=True)

    def loud() -> Any:
        synthesizer = small_synthesizer()
        with torch.no_grad():
            synthesizer.dec.resblocks[-1].convs2[-1].bias.fill_(1e5)
            synthesizer.dec.conv_post.weight.mul_(1e-5)
        return synthesizer

    shared = small_pipeline(synthesizer=loud(), optimization=config)
    shared._open_helpers = [lambda: small_pipeline(synthesizer=loud(), optimization=config)]
    converted, _ = shared.convert(tone(9.0), 16_000, SETTINGS)
    told = [message for message in caplog.messages if "overflowed in float16" in message]
    assert len(told) == 2  # of each device its own windows
    expected, _ = small_pipeline(synthesizer=loud()).convert(tone(9.0), 16_000, SETTINGS)
    assert snr_db(expected, converted) > 100


def test_a_job_on_two_devices_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    use_simple_pitch(monkeypatch)
    use_short_chunks(monkeypatch)

    def impatient(step: str, fraction: float, text: str) -> None:
        if step == "convert" and fraction > 0:
            progress.cancel()

    class SlowEncoder(LevelEncoder):
        def encode(self, *arguments: Any, **keywords: Any) -> torch.Tensor:
            time.sleep(0.1)
            return super().encode(*arguments, **keywords)

    shared = small_pipeline(encoder=SlowEncoder())
    shared._open_helpers = [lambda: small_pipeline(encoder=SlowEncoder())]
    progress, there = Progress(impatient), set(threading.enumerate())
    with pytest.raises(CancelledError):
        shared.convert(tone(41.3), 16_000, SETTINGS, progress)
    done = sum(len(each.encoder.batches) for each in (shared, *shared._helpers))  # type: ignore[attr-defined]
    assert 0 < done < 15  # of about 20
    assert not set(threading.enumerate()) - there  # other tests may have left some


# --- a voice file --------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_the_starter_voice_on_two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    from starter_voice import SAMPLE_RATE, open_starter, recording
    from starter_voice import SETTINGS as STARTER

    use_short_chunks(monkeypatch)
    settings = replace(STARTER, noise_scale=0.6, source_noise_scale=1.0, seed=5)
    config = OptimizationConfig(device="cpu", fast_vocoder=True)
    waveform = recording("song", seconds=7.0)
    expected, _ = open_starter(config).convert(waveform, SAMPLE_RATE, settings)
    shared = open_starter(replace(config, device="cpu,cpu"))
    converted, _ = shared.convert(waveform, SAMPLE_RATE, settings)
    assert np.array_equal(converted, expected)
    (helper,) = shared._helpers
    assert helper.voice.synthesizer is not shared.voice.synthesizer
    assert helper.optimization == replace(shared.optimization, device="cpu")


def test_a_voice_in_onnx_runs_on_one_device(tmp_path: Path) -> None:
    path = write_onnx_voice(tmp_path / "v.onnx", write_voice(tmp_path / "source.pth"))
    with pytest.raises(SettingError, match=r"v\.onnx is a voice in ONNX, which runs on one device"):
        Pipeline.open(path, SETTINGS, optimization=OptimizationConfig(device="cpu,cpu"))
