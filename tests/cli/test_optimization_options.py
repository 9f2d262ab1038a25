"""The switches as options of the converting commands: they reach the conversion, and are told at the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import ultimate_rvc
from ultimate_rvc.audio.encode import encode
from ultimate_rvc.cli.main import run
from ultimate_rvc.cli.options import SWITCH_FLAGS
from ultimate_rvc.covers import recipe
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.switches import SWITCHES, OptimizationConfig
from voice_factory import write_voice

COMMANDS = ("convert-voice", "song-cover")
RATE = 16_000


@pytest.fixture(autouse=True)
def machine_without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultimate_rvc.device.resolve_device", lambda wanted="auto": torch.device("cpu"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[OptimizationConfig]:
    """The configurations that pipelines were opened with; these pipelines say nothing."""
    configs: list[OptimizationConfig] = []

    def open_pipeline(
        model_path: Path,
        settings: object,
        *,
        index_path: Path | None = None,
        device: str = "auto",
        optimization: OptimizationConfig | None = None,
    ) -> Any:
        assert optimization is not None
        configs.append(optimization)

        def convert_all(recordings: list[tuple[Any, int]], *rest: object) -> list[Any]:
            return [np.full(waveform.shape[-1], 0.1, np.float32) for waveform, _ in recordings]

        return SimpleNamespace(
            device=torch.device("cpu"),
            voice=SimpleNamespace(has_f0=True, sample_rate=RATE),
            convert_all=convert_all,
            convert=lambda waveform, rate, *rest: (convert_all([(waveform, rate)])[0], rate),
            warm_up=lambda: None,
            shifts_semitones=(0,),
            profiler=PerformanceProfiler(False, torch.device("cpu")),
            precision=SimpleNamespace(dtype=torch.float32),
        )

    monkeypatch.setattr(Pipeline, "open", open_pipeline)
    return configs


@pytest.fixture
def converting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a converting command with further words; gives its exit code and what it wrote."""
    voice = write_voice(tmp_path / "voices" / "tester.pth", "Applio", embedder="starter", sample_rate=32000)
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)
    encode(tmp_path / "take.wav", tone.astype(np.float32), RATE)

    def call(command: str, *words: str) -> SimpleNamespace:
        capsys.readouterr()
        line = ["generate", command, str(tmp_path / "take.wav"), "--model", str(voice), *words]
        with pytest.raises(SystemExit) as ended:
            run([*line, "--output", str(tmp_path / "out.wav")])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code or 0, out=out, err=err)

    return call


def words_for(name: str) -> tuple[list[str], Any]:
    """An option that sets ``name`` to what a CPU does not choose by itself, and that value."""
    option = SWITCH_FLAGS[name]
    if name == "device":
        return [option, "cpu"], "cpu"
    if name == "batch_size":
        return [option, "7"], 7
    if name == "backend":
        return [option, "onnx"], "onnx"
    wanted = not getattr(OptimizationConfig.for_cpu(), name)
    return [option if wanted else option.replace("--", "--no-", 1)], wanted


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_reaches_the_conversion(
    command: str, opened: list[OptimizationConfig], converting: Callable[..., Any]
) -> None:
    given = {name: words_for(name) for name in SWITCHES}
    outcome = converting(command, *(word for words, _ in given.values() for word in words))
    assert outcome.code == 0, outcome.err
    assert opened == [OptimizationConfig(**{name: value for name, (_, value) in given.items()})]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_options_the_variables_reach_the_conversion(
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    opened: list[OptimizationConfig],
    converting: Callable[..., Any],
) -> None:
    monkeypatch.setenv("RVC_BATCH_SIZE", "auto")
    monkeypatch.setenv("RVC_USE_FP16", "on")
    assert converting(command, "--no-use-fp16").code == 0
    assert [(config.batch_size, config.use_fp16, config.fast_vocoder) for config in opened] == [
        ("auto", False, True)
    ]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch-size", "65"], "--batch-size is '65', but must be 1 to 64 or auto."),
        (
            ["--backend", "caffe"],
            "--backend is 'caffe', but must be one of auto, torch, compile, torchscript, onnx, openvino, coreml, "
            "mlx, tensorrt.",
        ),
        (
            ["--backend", "torch", "--use-int8"],
            "--use-int8 needs the backend onnx or openvino, but it is torch.",
        ),
        (
            ["--device", "gpu"],
            "--device is 'gpu', but must be auto, mps, cuda, cuda:N, cpu, or several of one kind, such as "
            "cuda:0,cuda:1.",
        ),
    ],
)
def test_a_bad_value_is_a_wrong_use_told_in_one_sentence(
    command: str, words: list[str], said: str, converting: Callable[..., Any]
) -> None:
    outcome = converting(command, *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"Error: {said}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_summary_tells_what_was_in_force_and_who_said_so(
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    opened: list[OptimizationConfig],
    converting: Callable[..., Any],
) -> None:
    monkeypatch.setenv("RVC_USE_BF16", "yes")
    monkeypatch.setenv("RVC_SKIP_SILENCE", "no")
    outcome = converting(command, "--batch-size", "2")
    assert outcome.code == 0, outcome.err
    assert "optimisation" not in outcome.out
    _, _, told = outcome.err.partition("optimisation:\n")
    assert told.splitlines() == [
        "  batch_size 2 (--batch-size)",
        "  use_bf16 true (RVC_USE_BF16)",
        "  skip_silence false (RVC_SKIP_SILENCE)",
        "  device auto, backend auto, use_gpu_retrieval false, use_fp16 false, use_int8 false, use_tf32 false, "
        "use_gpu_filter false, compile_model false, feature_cache true, fast_vocoder true, enable_profiling false "
        "(default for cpu)",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_json_tells_the_same_as_a_field(
    command: str, opened: list[OptimizationConfig], converting: Callable[..., Any]
) -> None:
    outcome = converting(command, "--batch-size", "2", "--json")
    assert outcome.code == 0, outcome.err
    told = {row["name"]: (row["value"], row["origin"]) for row in json.loads(outcome.out)["optimization"]}
    assert list(told) == list(SWITCHES)
    assert told["batch_size"] == (2, "--batch-size")
    assert told["fast_vocoder"] == (True, "default for cpu")
    assert "optimisation:" not in outcome.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_option_with_its_sentence(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("TERMINAL_WIDTH", "400")
    with pytest.raises(SystemExit):
        run(["generate", command, "--help"])
    shown = capsys.readouterr().out
    for name, entry in SWITCHES.items():
        assert SWITCH_FLAGS[name] in shown
        assert entry.help in shown


def test_the_cache_of_covers_tells_ways_apart_that_change_the_samples(
    opened: list[OptimizationConfig], converting: Callable[..., Any]
) -> None:
    converted = (["--no-use-fp16"], ["--use-fp16"], ["--use-fp16", "--batch-size", "4"], ["--no-use-fp16"])
    reports = [json.loads(converting("song-cover", *words, "--json").out) for words in converted]
    found = [step["cached"] for report in reports for step in report["steps"] if step["name"] == "convert"]
    assert found == [False, False, True, True]


def test_python_takes_a_configuration_or_some_of_its_fields(
    monkeypatch: pytest.MonkeyPatch, opened: list[OptimizationConfig], tmp_path: Path
) -> None:
    voice = write_voice(tmp_path / "tester.pth", "Applio", embedder="starter", sample_rate=32000)
    monkeypatch.setenv("RVC_BATCH_SIZE", "9")
    silence = (np.zeros(RATE, np.float32), RATE)
    whole = OptimizationConfig(use_gpu_filter=True)
    ultimate_rvc.convert(silence, voice, optimization=whole)
    ultimate_rvc.convert(silence, voice, device="cpu", optimization={"use_fp16": True})
    fields_of_cpu = {"backend": "auto", "feature_cache": True, "fast_vocoder": True, "skip_silence": True}
    assert opened == [
        whole,
        OptimizationConfig(device="cpu", batch_size=9, use_fp16=True, **fields_of_cpu),  # type: ignore[arg-type]
    ]
    with pytest.raises(SettingError, match="batch_size is 0, but must be 1 to 64 or auto"):
        ultimate_rvc.convert(silence, voice, optimization={"batch_size": 0})


def test_a_cover_computes_where_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(wanted: str) -> None:
        asked.append(wanted)
        raise SettingError("there is none")

    monkeypatch.setattr(recipe, "resolve_device", resolve)
    monkeypatch.setenv("RVC_DEVICE", "cuda:1")
    for settings in (None, recipe.CoverSettings(device="mps")):
        with pytest.raises(SettingError):
            recipe.make_cover("song.wav", "Anna", settings)
    assert asked == ["cuda:1", "mps"]
