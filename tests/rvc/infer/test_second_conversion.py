"""Another voice, pitch or index rate on a vocal that was converted before: neither encoder nor f0 runs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from small_pipeline import (
    FloatArray,
    LevelEncoder,
    small_pipeline,
    snr_db,
    tone,
    use_short_chunks,
    use_simple_pitch,
)
from small_synthesizer import PHONE_DIM, small_config, small_synthesizer
from ultimate_rvc.choices import F0Method
from ultimate_rvc.paths import feature_cache_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.infer.optimization.device_retrieval import DeviceRetriever
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig

SETTINGS = ConversionSettings(seed=3, index_rate=0.75, f0_methods=(F0Method.FCPE,))
CHUNKS = 4
REST = ["resample", "filter", "retrieve", "synthesize", "synthesize/vocoder", "join", "level"]


@pytest.fixture
def f0_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    use_short_chunks(monkeypatch, 1.0)
    return use_simple_pitch(monkeypatch)


def vocal() -> FloatArray:
    return np.concatenate([tone(1.2), np.zeros(8_000, np.float32), tone(1.8)])


class AnyVector(LevelEncoder):
    """Features that look random, so that rounding can be heard."""

    def encode(self, waveform_16k: torch.Tensor, *others: Any, **options: Any) -> torch.Tensor:
        level = super().encode(waveform_16k, *others, **options)
        return torch.sin(100 * level * torch.arange(1, PHONE_DIM + 1))


def another_voice() -> Any:
    synthesizer = small_synthesizer(config=small_config((10, 4, 2), initial_channels=16))
    random = torch.Generator().manual_seed(5)
    for parameter in synthesizer.parameters():
        parameter.mul_(1 + 0.1 * torch.rand(parameter.shape, generator=random))
    return synthesizer


def opened(encoder: LevelEncoder, *, another: bool = False, **switches: Any) -> Pipeline:
    vectors = torch.rand(100, PHONE_DIM, generator=torch.Generator().manual_seed(1))
    first = small_synthesizer(config=small_config((10, 4, 2), initial_channels=16))
    return small_pipeline(
        encoder=encoder,
        retriever=DeviceRetriever(vectors, "v.index"),
        synthesizer=another_voice() if another else first,
        optimization=OptimizationConfig(
            device="cpu", **{"feature_cache": True, "enable_profiling": True, **switches}
        ),
    )


@pytest.mark.parametrize(
    "switches", [{}, {"batch_size": 4}, {"skip_silence": True}, {"use_gpu_filter": True}]
)
def test_another_voice_on_the_same_vocal_runs_no_encoder_and_no_f0(
    f0_calls: list[int], switches: dict[str, Any]
) -> None:
    encoder = AnyVector()
    first, rate = opened(encoder, **switches).convert(vocal(), 16_000, SETTINGS)
    assert (sum(encoder.batches), len(f0_calls)) == (CHUNKS, 1)
    pipeline = opened(encoder, another=True, **switches)
    second, _ = pipeline.convert(vocal(), 16_000, SETTINGS)
    assert (sum(encoder.batches), len(f0_calls)) == (CHUNKS, 1)
    assert [stage.name for stage in pipeline.profiler.report()] == REST
    # Computing it all again gives the same bytes.
    shutil.rmtree(feature_cache_dir())
    again, _ = opened(encoder, another=True, **switches).convert(vocal(), 16_000, SETTINGS)
    assert (sum(encoder.batches), len(f0_calls)) == (2 * CHUNKS, 2)
    assert second.tobytes() == again.tobytes()
    assert snr_db(first, second) < 40  # it is another voice
    assert rate == 8_000


def test_pitch_autotune_index_rate_and_protection_need_nothing_new(f0_calls: list[int]) -> None:
    encoder = AnyVector()
    pipeline = opened(encoder)
    plain, _ = pipeline.convert(vocal(), 16_000, SETTINGS)
    for change in (
        {"n_octaves": 1},
        {"autotune_voice": True, "n_semitones": 3},
        {"proposed_pitch": True},
        {"index_rate": 0.1},
        {"protect_rate": 0.1},
        {"seed": 4},
    ):
        changed, _ = pipeline.convert(vocal(), 16_000, replace(SETTINGS, **change))
        assert snr_db(plain, changed) < 60, change
    assert (sum(encoder.batches), len(f0_calls)) == (CHUNKS, 1)


def test_another_vocal_and_another_method_are_computed(f0_calls: list[int]) -> None:
    encoder = AnyVector()
    pipeline = opened(encoder)
    pipeline.convert(vocal(), 16_000, SETTINGS)
    pipeline.convert(vocal(), 16_000, replace(SETTINGS, f0_methods=(F0Method.HARVEST,)))
    assert (sum(encoder.batches), len(f0_calls)) == (CHUNKS, 2)
    pipeline.convert(vocal() * np.float32(0.5), 16_000, SETTINGS)
    assert (sum(encoder.batches), len(f0_calls)) == (2 * CHUNKS, 3)


def test_what_was_remembered_sounds_as_without_remembering(f0_calls: list[int]) -> None:
    plain, _ = opened(AnyVector(), feature_cache=False).convert(vocal(), 16_000, SETTINGS)
    remembered, _ = opened(AnyVector()).convert(vocal(), 16_000, SETTINGS)
    assert 60 <= snr_db(plain, remembered) < 140  # rounded to 16 bits


def test_a_job_that_was_cancelled_leaves_nothing_behind(f0_calls: list[int]) -> None:
    encoder = AnyVector()
    pipeline = opened(encoder)

    def cancel_halfway(step: str, fraction: float, text: str) -> None:
        if step == "convert" and fraction > 0.4:
            progress.cancel()

    progress = Progress(cancel_halfway)
    with pytest.raises(Exception, match="cancelled"):
        pipeline.convert(vocal(), 16_000, SETTINGS, progress)
    encoded = sum(encoder.batches)
    assert 0 < encoded < CHUNKS
    assert not [path for path in feature_cache_dir().rglob("*") if path.is_file()]
    pipeline.convert(vocal(), 16_000, SETTINGS)
    assert (sum(encoder.batches) - encoded, len(f0_calls)) == (CHUNKS, 2)


def test_chunks_that_were_halved_for_lack_of_memory_are_remembered_as_halves(
    f0_calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_short_chunks(monkeypatch, 4.0)

    def limited(pipeline: Pipeline) -> Pipeline:
        infer = pipeline.voice.synthesizer.infer

        def with_less_memory(features: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
            if features.shape[1] > 350:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return infer(features, *arguments, **options)

        monkeypatch.setattr(pipeline.voice.synthesizer, "infer", with_less_memory)
        return pipeline

    encoder = AnyVector()
    first, _ = limited(opened(encoder)).convert(vocal(), 16_000, SETTINGS)
    encoded = sum(encoder.batches)
    second, _ = limited(opened(encoder)).convert(vocal(), 16_000, SETTINGS)
    assert encoded == 3  # all of it, and its halves
    assert sum(encoder.batches) == encoded
    assert first.tobytes() == second.tobytes()
