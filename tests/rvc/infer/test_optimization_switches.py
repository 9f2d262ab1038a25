"""Each variable of the configuration changes what runs: seen by what was called, not by what was set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest
import torch

from small_synthesizer import PHONE_DIM, small_config, small_synthesizer
from ultimate_rvc.cli.profiling import profile_shown
from ultimate_rvc.rvc.infer import opening
from ultimate_rvc.rvc.infer import pipeline as pipeline_module
from ultimate_rvc.rvc.infer.optimization.config import VARIABLES, OptimizationConfig
from ultimate_rvc.rvc.infer.optimization.filters import ScipyHighpass, TorchHighpass
from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler
from ultimate_rvc.rvc.infer.optimization.retrieval import DeviceRetriever, FaissRetriever
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.settings import ConversionSettings

SETTINGS = ConversionSettings(noise_scale=0.0, source_noise_scale=0.0, index_rate=0.75)
SAMPLES = 4_000
STAGES = ["resample", "filter", "f0", "encode", "retrieve", "synthesize", "join", "level"]


class LevelEncoder:
    def feature_dim(self, version: str) -> int:
        return PHONE_DIM

    name = "level"

    def identity(self) -> str:
        return "of tests"

    def networks(self, version: str) -> list[torch.nn.Module]:
        return []

    def encode(
        self, waveform_16k: torch.Tensor, version: str, lengths: Sequence[int] | None = None
    ) -> torch.Tensor:
        frames = waveform_16k.unfold(-1, 400, 320)
        return frames.abs().mean(-1, keepdim=True).expand(-1, -1, PHONE_DIM).contiguous()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Pipeline]:
    """Opens a pipeline of a small voice with an index, as files would."""
    for variable in (*VARIABLES, "URVC_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    voice = SimpleNamespace(
        synthesizer=small_synthesizer(has_f0=False),
        sample_rate=small_config().sample_rate,
        version="v2",
        has_f0=False,
        embedder="contentvec",
        metadata=SimpleNamespace(embedder_recorded=True),
    )
    monkeypatch.setattr(pipeline_module, "load_voice_model", lambda path, device: voice)
    monkeypatch.setattr(opening, "choose_encoder", lambda *arguments: ("contentvec", None))
    monkeypatch.setattr(opening, "load_content_encoder", lambda *names, folder: LevelEncoder())
    index = faiss.IndexFlatL2(PHONE_DIM)
    index.add(np.random.default_rng(0).normal(size=(40, PHONE_DIM)).astype(np.float32))
    faiss.write_index(index, str(tmp_path / "voice.index"))

    def open_pipeline(**options: Any) -> Pipeline:
        return Pipeline.open(Path("v.pth"), SETTINGS, index_path=tmp_path / "voice.index", **options)

    return open_pipeline


def convert(pipeline: Pipeline) -> np.ndarray[Any, Any]:
    time = np.arange(SAMPLES) / 16_000
    return pipeline.convert((0.3 * np.sin(2 * np.pi * 200 * time)).astype(np.float32), 16_000, SETTINGS)[0]


def spy(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, calls: list[str]) -> None:
    original = getattr(owner, method)

    def recorded(self: Any, *arguments: Any) -> Any:
        calls.append(owner.__name__)
        return original(self, *arguments)

    monkeypatch.setattr(owner, method, recorded)


@pytest.mark.parametrize(("value", "called"), [("on", "DeviceRetriever"), ("off", "FaissRetriever")])
def test_gpu_retrieval_chooses_who_searches(
    monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Pipeline], value: str, called: str
) -> None:
    monkeypatch.setenv("RVC_GPU_RETRIEVAL", value)
    calls: list[str] = []
    for owner in (DeviceRetriever, FaissRetriever):
        spy(monkeypatch, owner, "blend", calls)
    convert(opened())
    assert calls == [called]


@pytest.mark.parametrize(("value", "called"), [("on", "TorchHighpass"), ("off", "ScipyHighpass")])
def test_gpu_filter_chooses_who_filters(
    monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Pipeline], value: str, called: str
) -> None:
    monkeypatch.setenv("RVC_GPU_FILTER", value)
    calls: list[str] = []
    for owner in (TorchHighpass, ScipyHighpass):
        spy(monkeypatch, owner, "apply", calls)
    convert(opened())
    assert calls == [called]


def test_device_is_where_everything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Pipeline]
) -> None:
    asked: list[str] = []

    def resolve(wanted: str) -> torch.device:
        asked.append(wanted)
        return torch.device("cpu")

    monkeypatch.setattr(pipeline_module, "resolve_device", resolve)
    monkeypatch.setenv("RVC_DEVICE", "cuda:1")
    monkeypatch.setenv("RVC_GPU_FILTER", "off")
    opened()
    opened(device="mps")
    opened(optimization=OptimizationConfig(device="cuda:2"))
    assert asked == ["cuda:1", "mps", "cuda:2"]


@pytest.mark.parametrize("value", ["on", "off"])
def test_profiling_measures_the_stages_and_shows_them_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
    opened: Callable[..., Pipeline],
    capsys: pytest.CaptureFixture[str],
    value: str,
) -> None:
    monkeypatch.setenv("RVC_PROFILING", value)
    pipeline = opened()
    with profile_shown(value == "on"):
        convert(pipeline)
        convert(pipeline)
        assert capsys.readouterr().err == ""
    shown = capsys.readouterr()
    assert shown.out == ""
    if value == "off":
        assert (pipeline.profiler.report(), shown.err) == ([], "")
        return
    assert [stage.name for stage in pipeline.profiler.report()] == STAGES
    assert {stage.calls for stage in pipeline.profiler.report()} == {2}
    assert pipeline.profiler.audio_seconds == 2 * SAMPLES / 16_000
    assert [line.split()[0] for line in shown.err.splitlines()] == ["stage", *STAGES, "total"]


def test_showing_profiles_leaves_the_log_as_it_was() -> None:
    logger = logging.getLogger(PerformanceProfiler.__module__)
    before = (logger.level, list(logger.handlers))
    with pytest.raises(KeyError), profile_shown(True):
        raise KeyError
    assert (logger.level, logger.handlers) == before


def test_every_variable_has_its_test_here() -> None:
    assert list(VARIABLES) == ["RVC_DEVICE", "RVC_GPU_RETRIEVAL", "RVC_GPU_FILTER", "RVC_PROFILING"]


@pytest.mark.parametrize("switches", [{"use_gpu_filter": True}, {"use_gpu_retrieval": True}, {}])
def test_every_switch_sounds_like_the_reference(
    opened: Callable[..., Pipeline], switches: dict[str, bool]
) -> None:
    reference = convert(opened(optimization=OptimizationConfig(device="cpu")))
    switches = switches or {"use_gpu_filter": True, "use_gpu_retrieval": True}
    other = convert(opened(optimization=OptimizationConfig(device="cpu", **switches)))
    noise = np.square(other - reference).mean()
    assert np.abs(reference).max() > 1e-3
    assert noise <= 1e-6 * np.square(reference).mean()  # 60 dB
