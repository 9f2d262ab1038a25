"""Every switch, alone and together with all others, sounds like the plain reference: on speech and song.

Pitch is compared by itself. The phase of a harmonic source is the running sum of f0, so that a difference
of a thousandth of a cent, which noise at -160 dBFS in the input makes, is far above -60 dB in the waveform
after some seconds, and nobody hears it. Retrieval jumps where the eighth neighbour and the ninth change
places, which the rounding of remembered features does to one frame in some hundred; the excerpts have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from small_pipeline import EVERY_HALF, cpu_with, quick_float16, snr_db, use_short_chunks
from starter_voice import SAMPLE_RATE, SETTINGS, heard_and_gaps, open_starter, recording, write_flat_index
from ultimate_rvc.rvc.infer import f0 as f0_module
from ultimate_rvc.rvc.pitch import extract_f0
from ultimate_rvc.switches import FIELDS, OptimizationConfig

FloatArray = NDArray[np.float32]

ALONE: dict[str, dict[str, Any]] = {
    "use_gpu_retrieval": {"use_gpu_retrieval": True},
    "use_tf32": {"use_tf32": True},
    "use_gpu_filter": {"use_gpu_filter": True},
    "batch_size": {"batch_size": 4},
    "automatic batch_size": {"batch_size": "auto"},
    "compile_model": {"compile_model": True},
    "feature_cache": {"feature_cache": True},
    "fast_vocoder": {"fast_vocoder": True},
    "skip_silence": {"skip_silence": True},
    "enable_profiling": {"enable_profiling": True},
}
TOGETHER = {name: value for switches in ALONE.values() for name, value in switches.items()} | {
    "batch_size": 4
}
# Each way has one of the excerpts.
HALF: dict[str, tuple[dict[str, Any], str]] = {
    "float16": ({"use_fp16": True}, "song"),
    "bfloat16": ({"use_bf16": True}, "speech"),
    "all with float16": (TOGETHER | {"use_fp16": True}, "speech"),
    "all with bfloat16": (TOGETHER | {"use_bf16": True}, "song"),
}
EXCERPTS = {"song": 3.0, "speech": 2.0}  # where they begin
SECONDS = 1.0
GAP_SECONDS = 1.0  # behind them
CENTS = 0.01


@pytest.fixture(scope="module", autouse=True)
def _several_chunks(_session_folders: None) -> Iterator[None]:
    """Cut every second, so that an excerpt is a batch; and leave code that is to be compiled as it is."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_short_chunks(monkeypatch, 1.0)
        monkeypatch.setattr(torch, "compile", lambda function, **options: function)
        yield


@pytest.fixture(scope="module")
def index_path(_session_folders: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flat_index(tmp_path_factory.mktemp("index") / "flat.index")


@pytest.fixture(scope="module")
def references(index_path: Path) -> dict[str, Reference]:
    return {name: reference_of(name, index_path) for name in EXCERPTS}


@dataclass(frozen=True)
class Reference:
    converted: FloatArray
    f0_hz: torch.Tensor


def reference_of(name: str, index_path: Path) -> Reference:
    found: list[torch.Tensor] = []

    def kept(*arguments: Any, **options: Any) -> torch.Tensor:
        found.append(extract_f0(*arguments, **options))
        return found[0]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(f0_module, "extract_f0", kept)
        plain = open_starter(OptimizationConfig(device="cpu"), index_path)
        return Reference(plain.convert(excerpt(name), SAMPLE_RATE, SETTINGS)[0], found[0])


def excerpt(name: str) -> FloatArray:
    gap = np.zeros(round(GAP_SECONDS * SAMPLE_RATE), np.float32)
    return np.concatenate([recording(name, EXCERPTS[name], SECONDS), gap])


def snr_of_switches(
    monkeypatch: pytest.MonkeyPatch,
    switches: dict[str, Any],
    name: str,
    reference: Reference,
    index_path: Path,
) -> float:
    """The least SNR of a conversion and a second one, where the voice is computed at all."""

    def same_f0(*arguments: Any, **options: Any) -> torch.Tensor:
        own = extract_f0(*arguments, **options)
        assert ((own > 0) == (reference.f0_hz > 0)).all()
        voiced = own > 0
        cents = 1200 * torch.log2(own[voiced].double() / reference.f0_hz[voiced].double())
        assert cents.abs().max() < CENTS
        return reference.f0_hz

    monkeypatch.setattr(f0_module, "extract_f0", same_f0)
    pipeline = open_starter(OptimizationConfig(device="cpu", **switches), index_path)
    heard, _ = heard_and_gaps(excerpt(name), pipeline.voice.sample_rate)
    if "skip_silence" not in switches:
        heard[:] = True  # what is in gaps, test_pipeline_silence tells
    # The second finds what the first kept.
    conversions = 2 if "feature_cache" in switches and not pipeline.precision.is_half else 1
    converted = [pipeline.convert(excerpt(name), SAMPLE_RATE, SETTINGS)[0] for _ in range(conversions)]
    return min(snr_db(reference.converted[heard], other[heard]) for other in converted)


# Each switch has one of the excerpts, all of them together have both.
BY_TURNS = [(switches, name) for switches, name in zip(ALONE.values(), cycle(EXCERPTS))]
BOTH = [(TOGETHER, name) for name in EXCERPTS]


@pytest.mark.parametrize(
    ("switches", "name"),
    [*BY_TURNS, *BOTH],
    ids=[*ALONE, *(f"all-{name}" for name in EXCERPTS)],
)
def test_float32_sounds_the_same_within_60_db(
    monkeypatch: pytest.MonkeyPatch,
    switches: dict[str, Any],
    name: str,
    references: dict[str, Reference],
    index_path: Path,
) -> None:
    assert snr_of_switches(monkeypatch, switches, name, references[name], index_path) >= 60


@pytest.mark.parametrize("ways", HALF)
def test_half_precision_sounds_the_same_within_30_db(
    monkeypatch: pytest.MonkeyPatch,
    ways: str,
    references: dict[str, Reference],
    index_path: Path,
) -> None:
    cpu_with(monkeypatch, *EVERY_HALF)
    if ways != "float16":  # torch's own float16 takes a processor so long that one way has to show it for all
        quick_float16(monkeypatch)
    switches, name = HALF[ways]
    snr = snr_of_switches(monkeypatch, switches, name, references[name], index_path)
    assert snr < 90  # else nothing would have been half
    assert snr >= 30


def test_every_switch_is_compared() -> None:
    # Other backends are compared in backends/test_parity.py.
    assert {*TOGETHER, "use_fp16", "use_bf16", "device", "backend", "use_int8"} == set(FIELDS)
