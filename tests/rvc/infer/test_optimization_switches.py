"""Each variable of the configuration changes what runs: seen by what was called, not by what was set."""

from __future__ import annotations

import logging
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from small_pipeline import EVERY_HALF, LevelEncoder, cpu_with, snr_db, tone
from small_synthesizer import PHONE_DIM, few_layers, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.cli.profiling import profile_shown
from ultimate_rvc.rvc.infer import opening, optimization
from ultimate_rvc.rvc.infer import pipeline as pipeline_module
from ultimate_rvc.rvc.infer.chunks import REFLECTED_PAD_SAMPLES
from ultimate_rvc.rvc.infer.highpass import ScipyHighpass
from ultimate_rvc.rvc.infer.optimization import precision as precision_module
from ultimate_rvc.rvc.infer.optimization.backends.onnx_runtime import OnnxRuntime
from ultimate_rvc.rvc.infer.optimization.backends.torchscript import TorchScript
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder import compiled_code
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.fast_layers import FastLayers
from ultimate_rvc.rvc.infer.optimization.device_highpass import TorchHighpass
from ultimate_rvc.rvc.infer.optimization.device_retrieval import DeviceRetriever
from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.infer.retrieval import FaissRetriever
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.networks.hifigan import HiFiGAN
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.switches import VARIABLES, OptimizationConfig

SETTINGS = ConversionSettings(noise_scale=0.0, source_noise_scale=0.0, index_rate=0.75)
SAMPLES = 4_000
FEW_LAYERS = few_layers((10, 4, 2))
STAGES = ["resample", "filter", "encode", "retrieve", "synthesize", "synthesize/vocoder", "join", "level"]
FloatArray = NDArray[np.float32]
Opener = Callable[..., Pipeline]


@pytest.fixture
def encoder() -> LevelEncoder:
    return LevelEncoder()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoder: LevelEncoder) -> Opener:
    """Opens a pipeline of a small voice with an index, as files would."""
    for variable in (*VARIABLES, "URVC_CONFIG"):
        monkeypatch.delenv(variable, raising=False)

    def load_voice(path: Path, device: torch.device) -> SimpleNamespace:
        return SimpleNamespace(
            synthesizer=small_synthesizer(has_f0=False, config=FEW_LAYERS),
            sample_rate=FEW_LAYERS.sample_rate,
            version="v2",
            has_f0=False,
            vocoder=Vocoder.HIFI_GAN,
            embedder="contentvec",
            metadata=SimpleNamespace(embedder_recorded=True),
        )

    monkeypatch.setattr(pipeline_module, "load_voice_model", load_voice)
    monkeypatch.setattr(opening, "choose_encoder", lambda *arguments: ("contentvec", None))
    monkeypatch.setattr(opening, "load_content_encoder", lambda *names, folder: encoder)
    index = faiss.IndexFlatL2(PHONE_DIM)
    index.add(np.random.default_rng(0).normal(size=(40, PHONE_DIM)).astype(np.float32))
    faiss.write_index(index, str(tmp_path / "voice.index"))

    def open_pipeline(**options: Any) -> Pipeline:
        return Pipeline.open(Path("v.pth"), SETTINGS, index_path=tmp_path / "voice.index", **options)

    return open_pipeline


def convert(pipeline: Pipeline, waveform: FloatArray | None = None) -> FloatArray:
    waveform = tone(SAMPLES / 16_000) if waveform is None else waveform
    return pipeline.convert(waveform, 16_000, SETTINGS)[0]


def spy(
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    seen: Callable[..., Any] | None = None,
) -> list[Any]:
    """Notes each call of a method: its owner's name, or what ``seen`` makes of the arguments."""
    calls: list[Any] = []
    original = getattr(owner, method)

    def recorded(self: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(owner.__name__ if seen is None else seen(*arguments))
        return original(self, *arguments, **options)

    monkeypatch.setattr(owner, method, recorded)
    return calls


def test_every_module_of_optimization_has_its_switch() -> None:
    table = dict(re.findall(r"^(\w+) {2,}(\w.*)$", optimization.__doc__ or "", re.MULTILINE))
    modules = {module.name for module in pkgutil.iter_modules(optimization.__path__)}
    assert set(table) == modules
    named = {field for fields in table.values() for field in fields.split(", ")}
    assert named == set(VARIABLES.values())


@pytest.mark.parametrize(("value", "called"), [("on", [0, 1]), ("off", [1, 0])])
def test_gpu_retrieval_chooses_who_searches(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, value: str, called: list[int]
) -> None:
    monkeypatch.setenv("RVC_GPU_RETRIEVAL", value)
    calls = [spy(monkeypatch, owner, "blend") for owner in (FaissRetriever, DeviceRetriever)]
    convert(opened())
    assert list(map(len, calls)) == called


@pytest.mark.parametrize("value", ["on", "off"])
def test_gpu_filter_chooses_who_filters_what_is_converted(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, value: str
) -> None:
    monkeypatch.setenv("RVC_GPU_FILTER", value)
    calls = spy(monkeypatch, TorchHighpass, "apply")
    converted = spy(monkeypatch, LevelEncoder, "encode", lambda window, *others: window)
    convert(opened())
    assert len(calls) == (value == "on")
    (window,) = converted
    by_scipy = ScipyHighpass().apply(torch.from_numpy(tone(SAMPLES / 16_000)))
    before = REFLECTED_PAD_SAMPLES
    difference = (window[0, before : before + SAMPLES] - by_scipy).abs().max()
    assert difference < 1e-5
    assert (difference > 0) == (value == "on")


def test_device_is_where_everything_is_loaded(monkeypatch: pytest.MonkeyPatch, opened: Opener) -> None:
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


def dtypes_of_blocks(pipeline: Pipeline) -> set[torch.dtype]:
    """What the layers of the vocoder's residual blocks give during a conversion."""
    seen: set[torch.dtype] = set()
    for block in pipeline.voice.synthesizer.dec.resblocks:
        for layer in block.modules():
            if isinstance(layer, torch.nn.Conv1d):
                layer.register_forward_hook(lambda layer, inputs, output: seen.add(output.dtype))
    assert np.abs(convert(pipeline)).max() > 1e-3
    return seen


@pytest.mark.parametrize(
    ("variable", "dtype"), [("RVC_USE_FP16", torch.float16), ("RVC_USE_BF16", torch.bfloat16)]
)
@pytest.mark.parametrize("value", ["on", "off"])
def test_half_precision_is_what_the_residual_blocks_run_in(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, variable: str, dtype: torch.dtype, value: str
) -> None:
    cpu_with(monkeypatch, *EVERY_HALF)
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("RVC_FAST_VOCODER", "off")  # which calls no layers
    assert dtypes_of_blocks(opened()) == {dtype if value == "on" else torch.float32}


def test_each_half_precision_has_its_variable(monkeypatch: pytest.MonkeyPatch, opened: Opener) -> None:
    cpu_with(monkeypatch, *EVERY_HALF)
    monkeypatch.setenv("RVC_USE_FP16", "on")
    assert dtypes_of_blocks(opened()) == {torch.float16}
    monkeypatch.setenv("RVC_USE_BF16", "on")
    for has, weights in ((True, set()), (False, {torch.bfloat16})):
        # The fast vocoder rounds by itself where the processor has products of bfloat16: weights stay as they are.
        monkeypatch.setattr(compiled_code, "has_bfloat16", lambda has=has: has)
        assert dtypes_of_blocks(opened()) == weights
    monkeypatch.setenv("RVC_FAST_VOCODER", "off")
    assert dtypes_of_blocks(opened()) == {torch.bfloat16}
    cpu_with(monkeypatch)
    assert dtypes_of_blocks(opened()) == {torch.float32}


@pytest.mark.parametrize("value", ["on", "off"])
def test_tf32_is_allowed_in_encoder_and_voice_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, value: str
) -> None:
    """On CUDA ``float32_arithmetic`` sets what torch multiplies with; here it is seen being asked to."""
    asked, seen = [False], {}

    @contextmanager
    def arithmetic(device: torch.device, *, tf32: bool) -> Iterator[None]:
        asked.append(tf32)
        yield
        asked.pop()

    monkeypatch.setattr(precision_module, "float32_arithmetic", arithmetic)
    for owner, method in (
        (TorchHighpass, "apply"),
        (LevelEncoder, "encode"),
        (FaissRetriever, "blend"),
        (Synthesizer, "infer"),
        (HiFiGAN, "forward"),
    ):
        seen[owner] = spy(monkeypatch, owner, method, lambda *arguments: asked[-1])
    monkeypatch.setenv("RVC_USE_TF32", value)
    monkeypatch.setenv("RVC_GPU_FILTER", "on")
    convert(opened())
    allowed = [value == "on"]
    assert list(seen.values()) == [[False], allowed, [False], allowed, allowed]


@pytest.mark.parametrize(("value", "batches"), [("1", [1, 1, 1]), ("2", [1, 2]), ("64", [3]), ("auto", [3])])
def test_batch_size_is_how_many_chunks_the_voice_gets(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, value: str, batches: list[int]
) -> None:
    monkeypatch.setenv("RVC_BATCH_SIZE", value)
    voice = spy(monkeypatch, Synthesizer, "infer", lambda features, *others: len(features))
    encoder = spy(monkeypatch, LevelEncoder, "encode", lambda windows, *others: len(windows))
    opened().convert_all([(tone(seconds), 16_000) for seconds in (0.2, 0.3, 0.4)], SETTINGS)
    assert sorted(voice) == sorted(encoder) == batches


@pytest.mark.parametrize(("value", "parts"), [("torchscript", 3), ("torch", 0), ("auto", 0)])
def test_backend_chooses_who_runs_the_networks(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, value: str, parts: int
) -> None:
    monkeypatch.setenv("RVC_BACKEND", value)
    loaded = spy(monkeypatch, TorchScript, "load", lambda part, *others: part.name)
    convert(opened())
    assert len(loaded) == parts


@pytest.mark.parametrize(("value", "precision"), [("on", "int8"), ("off", "float32")])
def test_int8_reaches_the_backend(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, value: str, precision: str
) -> None:
    monkeypatch.setenv("RVC_BACKEND", "onnx")
    monkeypatch.setenv("RVC_USE_INT8", value)
    exported: list[str] = []

    def export(self: OnnxRuntime, part: Any, folder: Path, plan: Any) -> None:
        exported.append(plan.precision)
        TorchScript().export(part, folder, plan)

    # backends/test_opening.py tells what ONNX Runtime makes of it; writing its files takes most of a minute.
    monkeypatch.setattr(OnnxRuntime, "export", export)
    monkeypatch.setattr(OnnxRuntime, "load", TorchScript.load)
    convert(opened())
    assert exported == 3 * [precision]


@pytest.mark.parametrize("value", ["on", "off"])
def test_compile_hands_the_vocoder_to_torch(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, value: str
) -> None:
    compiled: list[str] = []
    rendered: list[int] = []

    def compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        compiled.append(function.__name__)

        def run(vocoder: Any, latent: torch.Tensor, *others: Any) -> Any:
            rendered.append(latent.shape[-1])
            return function(vocoder, latent, *others)

        return run

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setenv("RVC_COMPILE", value)
    convert(opened(), tone(2))  # a shorter window than what is compiled is left to torch
    assert compiled == (["render_plainly"] if value == "on" else [])
    assert set(rendered) == ({200} if value == "on" else set())  # the length it is compiled for


@pytest.mark.parametrize(("value", "calls"), [("on", 1), ("off", 2)])
def test_feature_cache_saves_the_encoder_the_second_conversion(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, encoder: LevelEncoder, value: str, calls: int
) -> None:
    monkeypatch.setenv("RVC_FEATURE_CACHE", value)
    first, second = convert(opened()), convert(opened())
    assert len(encoder.batches) == calls
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("value", ["on", "off"])
def test_fast_vocoder_computes_the_layers(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, value: str
) -> None:
    monkeypatch.setenv("RVC_FAST_VOCODER", value)
    upsamplings = spy(monkeypatch, FastLayers, "upsample")
    means = spy(monkeypatch, FastLayers, "mean_of_blocks")
    convert(opened())
    assert len(upsamplings) == len(means) == (3 if value == "on" else 0)  # one for each stage


@pytest.mark.parametrize("value", ["on", "off"])
def test_skip_silence_keeps_gaps_from_the_vocoder(
    monkeypatch: pytest.MonkeyPatch, opened: Opener, value: str
) -> None:
    monkeypatch.setenv("RVC_SKIP_SILENCE", value)
    monkeypatch.setenv("RVC_FAST_VOCODER", "off")  # whose tiles overlap
    frames = spy(monkeypatch, HiFiGAN, "forward", lambda latent, *others: len(latent) * latent.shape[-1])
    pipeline = opened()
    convert(pipeline, np.concatenate([tone(1), np.zeros(8 * 16_000, np.float32), tone(1)]))
    context = 2 * 2 * pipeline.voice.synthesizer.vocoder.context_frames
    if value == "on":
        margins = 2 * (25 + 5)  # and the high-pass, which rings
        assert 200 < sum(frames) <= 200 + margins + context
    else:
        assert frames == [1002 + 60]  # the whole chunk and its own context


@pytest.mark.parametrize("value", ["on", "off"])
def test_profiling_measures_the_stages_and_shows_them_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
    opened: Opener,
    capsys: pytest.CaptureFixture[str],
    value: str,
) -> None:
    monkeypatch.setenv("RVC_PROFILING", value)
    monkeypatch.setenv("RVC_FEATURE_CACHE", "off")  # which would leave the encoder out the second time
    pipeline = opened()
    with profile_shown():
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
    names = [name.rpartition("/")[2] for name in STAGES]
    assert [line.split()[0] for line in shown.err.splitlines()] == ["stage", *names, "total"]


def test_showing_profiles_leaves_the_log_as_it_was() -> None:
    logger = logging.getLogger(PerformanceProfiler.__module__)
    before = (logger.level, list(logger.handlers))
    with pytest.raises(KeyError), profile_shown():
        raise KeyError
    assert (logger.level, logger.handlers) == before


def test_every_variable_has_its_test_here() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    untested = [variable for variable in VARIABLES if f'"{variable}"' not in here]
    assert untested == []


@pytest.mark.parametrize("switches", [{"use_gpu_filter": True}, {"use_gpu_retrieval": True}, {}])
def test_exact_switches_sound_like_the_reference_with_any_weights(
    opened: Opener, switches: dict[str, bool]
) -> None:
    reference = convert(opened(optimization=OptimizationConfig(device="cpu")))
    switches = switches or {"use_gpu_filter": True, "use_gpu_retrieval": True}
    other = convert(opened(optimization=OptimizationConfig(device="cpu", **switches)))
    assert np.abs(reference).max() > 1e-3
    assert snr_db(reference, other) >= 60
