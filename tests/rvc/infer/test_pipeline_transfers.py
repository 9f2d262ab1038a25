"""From the filter to the waveform everything stays on the device: one transfer in, one out, per job."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from pretend_gpu import GPU, OnGpu, Traffic, on_gpu, pretend_gpu
from small_pipeline import FloatArray, LevelEncoder, small_pipeline, tone, use_short_chunks, use_simple_pitch
from small_synthesizer import PHONE_DIM, small_config, small_synthesizer
from ultimate_rvc.rvc.infer.optimization.device_retrieval import DeviceRetriever
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig

NOISY = ConversionSettings(index_rate=0.75, seed=3)  # random numbers are drawn on the device
VECTORS = 200
ON_DEVICE = {"device": "cuda", "use_gpu_filter": True, "use_gpu_retrieval": True}
WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float16": {"use_fp16": True},
    "bfloat16 in batches": {"use_bf16": True, "batch_size": 4},
    "TF32": {"use_tf32": True},
    "silence left out": {"skip_silence": True},
    "silence left out of batches": {"skip_silence": True, "batch_size": 2},
}


@pytest.fixture(autouse=True)
def _short_chunks_and_simple_pitch(monkeypatch: pytest.MonkeyPatch) -> None:
    use_short_chunks(monkeypatch, 1.0)
    use_simple_pitch(monkeypatch)


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    with pretend_gpu() as traffic:
        yield traffic


def vectors() -> torch.Tensor:
    return torch.rand(VECTORS, PHONE_DIM, generator=torch.Generator().manual_seed(1))


def voice() -> Any:
    return small_synthesizer(config=small_config((10, 4, 2), initial_channels=16))


def opened(
    device: torch.device,
    retriever: DeviceRetriever,
    synthesizer: Any,
    encoder: LevelEncoder | None = None,
    **ways: Any,
) -> Pipeline:
    return small_pipeline(
        encoder=encoder,
        retriever=retriever,
        synthesizer=synthesizer,
        device=device,
        optimization=OptimizationConfig(**ON_DEVICE, **ways),
    )


def song(seconds: int) -> FloatArray:
    """Tones with gaps; cut where there is more than one second."""
    return np.concatenate([tone(0.4), np.zeros(9_600, np.float32)] * seconds)


@pytest.mark.parametrize("seconds", [1, 3])
@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_a_job_has_one_transfer_in_one_out_and_its_flags(
    traffic: Traffic, ways: dict[str, Any], seconds: int
) -> None:
    encoder = LevelEncoder()
    pipeline = opened(
        GPU, DeviceRetriever(vectors().to(GPU), "v.index"), on_gpu(voice()), encoder=encoder, **ways
    )
    waveform = song(seconds)
    traffic.clear()
    converted, rate = pipeline.convert(waveform, 16_000, NOISY)
    chunks = sum(encoder.batches)
    assert (chunks == 1) == (seconds == 1)
    assert np.abs(converted).max() > 1e-3
    assert traffic.to_device == [len(waveform)]
    *flags, audio = traffic.to_host
    assert audio == seconds * rate
    # Whether retrieval missed a neighbour; and, in half precision, which chunks overflowed.
    assert flags == ([1, chunks] if pipeline.precision.is_half else [1])


def test_the_pretended_device_gives_what_the_host_gives(traffic: Traffic) -> None:
    waveform = song(2)
    on_device = opened(GPU, DeviceRetriever(vectors().to(GPU), "v.index"), on_gpu(voice()))
    on_host = opened(torch.device("cpu"), DeviceRetriever(vectors(), "v.index"), voice())
    first, second = (pipeline.convert(waveform, 16_000, NOISY)[0] for pipeline in (on_device, on_host))
    np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize(
    ("crossing", "to_device", "to_host"),
    [
        (lambda x: x.cpu().numpy(), [], [6]),
        (lambda x: x.to("cpu"), [], [6]),
        (lambda x: torch.ones(5).to(x), [5], []),
        (lambda x: torch.tensor([1.0, 2.0], device=x.device), [2], []),
        (lambda x: x.tolist(), [], [6]),
        (lambda x: x[0].item(), [], [1]),
        (lambda x: bool(x.any()), [], [1]),
        (lambda x: float(x.sum()), [], [1]),
        (lambda x: x.nonzero(), [], [6]),
        (lambda x: x[x > 0], [], [6]),
        (lambda x: x[[0, 2]], [2], []),
        (lambda x: torch.empty(6).copy_(x), [], [6]),
        (lambda x: torch.equal(x, x), [], [6]),
        (lambda x: torch.arange(5, device=x.device) + x[:5] * 2, [], []),
        (lambda x: torch.nn.functional.pad(x, (1, 1)).double().mean(), [], []),
    ],
)
def test_crossings_are_seen(
    traffic: Traffic, crossing: Any, to_device: list[int], to_host: list[int]
) -> None:
    x = torch.arange(6.0, device=GPU)
    assert isinstance(x, OnGpu)
    with torch.inference_mode():
        crossing(x)
    assert (traffic.to_device, traffic.to_host) == (to_device, to_host)


def test_a_tensor_left_on_the_host_is_seen(traffic: Traffic) -> None:
    with pytest.raises(AssertionError, match="mixes"):
        torch.ones(3, device=GPU) + torch.ones(3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_cuda_is_waited_for_as_often_for_many_chunks_as_for_one(ways: dict[str, Any]) -> None:
    device = torch.device("cuda", 0)
    retriever = DeviceRetriever(vectors().to(device), "v.index")
    pipeline = opened(device, retriever, voice().to(device), **ways)
    pipeline.convert(song(4), 16_000, NOISY)  # libraries that are loaded now are not waited for later
    waits = [cuda_waits(pipeline, song(seconds)) for seconds in (1, 4)]
    assert waits[0] == waits[1]
    # In, out, whether retrieval missed a neighbour, and in half precision which chunks overflowed.
    assert waits[1] <= (4 if pipeline.precision.is_half else 3)


def cuda_waits(pipeline: Pipeline, waveform: FloatArray) -> int:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pipeline.convert(waveform, 16_000, NOISY)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)
