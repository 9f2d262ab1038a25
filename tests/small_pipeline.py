"""A pipeline whose encoder and pitch are simple enough to predict, and whose voice is small."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from small_synthesizer import PHONE_DIM, small_synthesizer
from ultimate_rvc.choices import F0Method, Vocoder
from ultimate_rvc.rvc.infer import chunks as chunking
from ultimate_rvc.rvc.infer import f0 as f0_module
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.switches import OptimizationConfig

FloatArray = NDArray[np.float32]
CPU = torch.device("cpu")
EVERY_HALF = ("avx512_bf16", "amx_fp16")  # what a processor calls its half-precision instructions


class LevelEncoder:
    """Content features that are the level of their 400 samples, in every dimension; notes its batches."""

    name = "level"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def identity(self) -> str:
        return "of tests"

    def feature_dim(self, version: str) -> int:
        return PHONE_DIM

    def networks(self, version: str) -> list[torch.nn.Module]:
        return []

    def encode(
        self, waveform_16k: torch.Tensor, version: str, lengths: Sequence[int] | None = None
    ) -> torch.Tensor:
        self.batches.append(len(waveform_16k))
        frames = waveform_16k.unfold(-1, 400, 320)
        return frames.abs().mean(-1, keepdim=True).expand(-1, -1, PHONE_DIM).contiguous()


class LoudIsVoiced:
    """200 Hz wherever 10 ms of audio are louder than 0.01."""

    name = "loud"

    def f0_hz(self, waveform_16k: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(waveform_16k, (80, 240))
        return torch.where(padded.unfold(0, 160, 160).abs().mean(-1) > 0.01, 200.0, 0.0)


def use_simple_pitch(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every pitch method be :class:`LoudIsVoiced`; returns the lengths it will be called with."""
    called: list[int] = []

    def load(names: tuple[F0Method, ...], device: torch.device) -> LoudIsVoiced:
        return LoudIsVoiced()

    def whole(method: Any, waveform: torch.Tensor, **options: Any) -> torch.Tensor:
        called.append(len(waveform))
        return method.f0_hz(waveform)[: len(waveform) // 160 + 1]

    monkeypatch.setattr(f0_module, "load_pitch_methods", load)
    monkeypatch.setattr(f0_module, "extract_f0", whole)
    return called


def use_short_chunks(monkeypatch: pytest.MonkeyPatch, seconds: float = 2.0) -> None:
    """Cut about every so many seconds instead of every 38."""
    samples = round(seconds * 50) * chunking.FRAME_SAMPLES
    monkeypatch.setattr(chunking, "CHUNK_SAMPLES", samples)
    monkeypatch.setattr(chunking, "SEARCH_SAMPLES", samples // 8)
    monkeypatch.setattr(chunking, "MAX_CHUNK_SAMPLES", samples * 5 // 4)


def cpu_with(monkeypatch: pytest.MonkeyPatch, *capabilities: str) -> None:
    """Let the processor say that it has these instructions, and no others: torch does without."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(capabilities, True))


def quick_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolve in float16 as hardware for it does: rounded factors and results, sums in float32.

    Where the processor has no such instructions, torch takes twenty times as long.
    """
    usual = torch.nn.Conv1d._conv_forward

    def convolve(
        layer: torch.nn.Conv1d, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        if weight.dtype is not torch.float16:
            return usual(layer, hidden, weight, bias)
        with torch.autocast("cpu", enabled=False):
            exact_bias = None if bias is None else bias.float()
            return usual(layer, hidden.half().float(), weight.float(), exact_bias).half()

    monkeypatch.setattr(torch.nn.Conv1d, "_conv_forward", convolve)


def small_pipeline(
    *,
    has_f0: bool = True,
    vocoder: Vocoder = Vocoder.HIFI_GAN,
    retriever: Any = None,
    synthesizer: Any = None,
    encoder: Any = None,
    device: torch.device = CPU,
    optimization: OptimizationConfig | None = None,
) -> Pipeline:
    synthesizer = synthesizer or small_synthesizer(vocoder, has_f0=has_f0)
    voice = SimpleNamespace(
        synthesizer=synthesizer,
        sample_rate=synthesizer.config.sample_rate,
        version="v2",
        has_f0=has_f0,
        vocoder=vocoder,
    )
    return Pipeline(
        voice,  # type: ignore[arg-type]
        encoder or LevelEncoder(),
        retriever=retriever,
        device=device,
        optimization=optimization,
    )


def tone(seconds: float, sample_rate: int = 16_000) -> FloatArray:
    """200 Hz that swells three times a second."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    swell = 1 + 0.5 * np.sin(2 * np.pi * 3 * time)
    return (0.3 * np.sin(2 * np.pi * 200 * time) * swell).astype(np.float32)


def snr_db(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """How far the difference lies below the reference; infinite for equal ones."""
    assert reference.shape == other.shape
    assert np.isfinite(other).all()
    exact = reference.astype(np.float64)
    power, error = np.square(exact).sum(), np.square(other - exact).sum()
    assert power > 0
    return float(10 * np.log10(power / error)) if error > 0 else float("inf")
