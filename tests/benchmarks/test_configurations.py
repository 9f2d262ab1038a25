"""The benchmark of configurations: the real command on the CPU, and its parts with stand-ins."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc.rvc.infer.optimization.profiler import PerformanceProfiler
from ultimate_rvc.switches import OptimizationConfig

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def interleaved() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        import interleaved

        yield interleaved


@pytest.fixture(scope="session")
def configurations(interleaved: ModuleType) -> ModuleType:
    import configurations

    return configurations


@dataclass(frozen=True)
class Done:
    """What a command printed, wrote and exited with."""

    code: int
    out: str
    err: str


def benchmark(*arguments: str, **environment: str) -> Done:
    command = [sys.executable, str(BENCHMARKS / "configurations.py"), *arguments]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)
    return Done(done.returncode, done.stdout, done.stderr)


# --- a run --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RealRun:
    done: Done
    folder: Path
    content: dict[str, Any]


@pytest.fixture(scope="module")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> RealRun:
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "exact.yaml").write_text("use_gpu_retrieval: true\nskip_silence: true\n")
    files = [*("--json", str(folder / "run.json")), *("--plot", str(folder / "bars.png"))]
    size = ["--small", "--seconds", "2", "--repeats", "1", "--log", str(folder / "log" / "log.jsonl")]
    done = benchmark(
        *size, *files, "--configs", "exact", URVC_CONFIG_DIR=str(folder), RVC_DEVICE="cpu", RVC_USE_FP16="no"
    )
    assert done.code == 0, done.err
    return RealRun(done, folder, json.loads((folder / "run.json").read_text()))


def test_a_run_says_what_it_measures_on(real_run: RealRun) -> None:
    import torch

    lines = real_run.done.out.splitlines()
    system = "macOS" if sys.platform == "darwin" else "Linux"
    assert lines[:4] == [
        f"=== {system} Performance Benchmark ===",
        f"PyTorch Version: {torch.__version__}",
        "Device: CPU",
        f"MPS Built: {torch.backends.mps.is_built()}",
    ]
    assert "Feature cache: off, so that no run profits from the one before" in lines
    (switches,) = [line for line in lines if line.startswith("exact: ")]
    assert {"use_gpu_retrieval=true", "skip_silence=true"} <= set(
        switches.removeprefix("exact: ").split(", ")
    )
    assert any(line.startswith("Silence: ") for line in lines)


def test_a_run_gives_every_figure_of_both_configurations(real_run: RealRun) -> None:
    reference, other = real_run.content["rows"]
    assert (reference["configuration"], other["configuration"]) == ("reference", "exact")
    for row in (reference, other):
        assert {"filter", "f0", "encode", "retrieve", "synthesize"} <= row["stages"].keys()
        outermost = sum(seconds for stage, seconds in row["stages"].items() if "/" not in stage)
        assert 0 < outermost <= row["seconds"]
        assert row["shares"]["synthesize"] == pytest.approx(row["stages"]["synthesize"] / row["seconds"])
        assert row["seconds"] == row["seconds_min"] == row["seconds_max"]  # one repeat
        assert row["real_time_factor"] == pytest.approx(row["seconds"] / 2)
        assert row["ratio"] == pytest.approx(reference["seconds"] / row["seconds"])
        assert row["peak_host_mb"] > 100
        assert row["peak_device_mb"] is None
        assert row["threads"] == 1
    assert (reference["max_difference"], reference["snr_db"]) == (0, None)
    # The exact search finds other neighbours than the one cell of the index that faiss looks into.
    assert 0 < other["mean_difference"] < other["max_difference"] < 1
    assert 0 < other["snr_db"] < 100


def test_configurations_run_as_they_are_named(real_run: RealRun) -> None:
    reference, other = (row["settings"] for row in real_run.content["rows"])
    plain = vars(OptimizationConfig(device="cpu", enable_profiling=True))
    assert reference == plain
    assert (other["use_gpu_retrieval"], other["skip_silence"], other["feature_cache"]) == (True, True, False)


def test_a_run_prints_a_table_and_logs_what_it_prints(real_run: RealRun) -> None:
    rows = [json.loads(line) for line in (real_run.folder / "log" / "log.jsonl").read_text().splitlines()]
    assert rows == real_run.content["rows"]
    table = {line[:22].strip(): line[22:].split() for line in real_run.done.out.splitlines()}
    assert table["times as fast"] == [f"{row['ratio']:.2f}" for row in rows]
    assert table["SNR, dB"] == ["equal", f"{rows[1]['snr_db']:.1f}"]
    assert table["synthesize"][0] == f"{rows[0]['stages']['synthesize']:.3f}"


def test_the_bars_are_a_picture(real_run: RealRun) -> None:
    assert (real_run.folder / "bars.png").read_bytes().startswith(b"\x89PNG")


# --- mistakes -----------------------------------------------------------------------------------


def test_a_wrong_name_is_one_sentence_and_exit_2() -> None:
    done = benchmark("--configs", "nvida")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: --configs names 'nvida', but there is no such settings file in ")
    assert done.err.endswith("choose from reference, in-force.\n")  # the tests' folder has no files


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--seconds", "0"), "'0' is no number from 0.5"),
        (("--seconds", "nan"), "'nan' is no number"),
        (("--repeats", "1.5"), "'1.5' is no number from 1"),
        (("--seed", "-1"), "'-1' is no number from 0"),
        (("--history", "--seconds", "3"), "leave out --seconds"),
        (("--json", "no/such/folder.json"), "there is no folder no/such"),
        (("--plot", "bars.txt"), "must end in .png"),
        (("--log", "/"), "--log / is a folder"),
        (("--second", "3"), "unrecognized arguments: --second"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(
    configurations: ModuleType,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        configurations.main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("Error: ")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [("device: cuda:63\n", "Device 'cuda:63' is not there"), ("use_fp16: often\n", "'often'")],
)
def test_what_cannot_run_is_told_before_any_work(
    configurations: ModuleType,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: str,
    words: str,
) -> None:
    monkeypatch.setenv("URVC_CONFIG_DIR", str(tmp_path))
    (tmp_path / "wrong.yaml").write_text(settings)
    with pytest.raises(SystemExit) as ended:
        configurations.main(["--configs", "wrong"])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


# --- the parts ----------------------------------------------------------------------------------


class StandIn:
    """A pipeline that notes when it was called and reports stages of its own clock."""

    def __init__(self, name: str, calls: list[str], seconds: list[float]) -> None:
        self._name, self._calls, self._seconds = name, calls, iter(seconds)
        self._now = 0.0
        self.profiler = PerformanceProfiler(True, clock=lambda: self._now)

    def convert(self, waveform: Any, sample_rate: int, settings: Any) -> tuple[Any, int]:
        self._calls.append(self._name)
        with self.profiler.stage("synthesize"):
            self._now += next(self._seconds)
        return waveform, sample_rate


def test_configurations_run_in_turn_and_each_repeat_is_measured_alone(interleaved: ModuleType) -> None:
    calls: list[str] = []
    both = [
        interleaved.Measurement("a", StandIn("a", calls, [1.0, 9.0, 2.0])),
        interleaved.Measurement("b", StandIn("b", calls, [3.0, 3.0, 4.0])),
    ]
    told: list[str] = []
    interleaved.run_in_turn(both, np.zeros(8, np.float32), None, 3, told.append)
    assert calls == ["a", "b"] * 3
    assert len(told) == 6
    assert [measured.median_stages for measured in both] == [{"synthesize": 2.0}, {"synthesize": 3.0}]


def test_what_is_measured_has_no_memory_of_earlier_runs(interleaved: ModuleType) -> None:
    measured = interleaved.as_measured(OptimizationConfig(feature_cache=True, use_gpu_filter=True))
    assert measured == OptimizationConfig(use_gpu_filter=True, enable_profiling=True)


def test_a_compiled_configuration_warms_up_on_the_whole_vocal(interleaved: ModuleType) -> None:
    assert interleaved.warm_up_seconds(OptimizationConfig(device="cpu"), 30.0) == 1.0
    assert interleaved.warm_up_seconds(OptimizationConfig(device="cpu", compile_model=True), 30.0) == 30.0


@given(st.floats(1e-4, 0.5), st.integers(1, 400))
def test_accuracy_of_a_known_error(interleaved: ModuleType, error: float, samples: int) -> None:
    reference = np.full(samples, 0.5, np.float32)
    output = reference + np.float32(error) * np.where(np.arange(samples) % 2, 1, -1).astype(np.float32)
    found = interleaved.accuracy(reference, output)
    assert found["max_difference"] == pytest.approx(error, rel=1e-2)
    assert found["mean_difference"] == pytest.approx(error, rel=1e-2)
    assert found["snr_db"] == pytest.approx(20 * math.log10(0.5 / error), abs=0.1)


def test_accuracy_of_equal_and_of_broken_waveforms(interleaved: ModuleType) -> None:
    reference = np.ones(4, np.float32)
    equal = interleaved.accuracy(reference, reference.copy())
    assert equal == {"max_difference": 0.0, "mean_difference": 0.0, "snr_db": None}
    broken = interleaved.accuracy(reference, np.array([1, np.nan, 1, 1], np.float32))
    assert set(broken.values()) == {None}


def test_the_share_of_silence(interleaved: ModuleType) -> None:
    frame = interleaved.LEVEL_FRAME
    loud, quiet = np.full(3 * frame, 0.1, np.float32), np.full(frame, 0.0009, np.float32)  # -20, -61 dBFS
    assert interleaved.silent_share(np.concatenate([loud, quiet])) == 0.25
    assert interleaved.silent_share(np.zeros(3, np.float32)) == 0.0


def test_the_vocal_is_long_enough_and_has_pauses(interleaved: ModuleType) -> None:
    audio = interleaved.vocal(25.0)
    assert audio.shape == (25 * interleaved.SAMPLE_RATE,)
    assert 0.05 < interleaved.silent_share(audio) < 0.3


@given(st.lists(st.floats(0, 10), min_size=1, max_size=5), st.lists(st.floats(0, 10), max_size=5))
def test_stages_without_those_inside_them_add_up(
    interleaved: ModuleType, inner: list[float], outer: list[float]
) -> None:
    nested = {f"synthesize/{number}": seconds for number, seconds in enumerate(inner)}
    stages = {"synthesize": sum(inner) + 1.0, **nested, **{f"s{n}": value for n, value in enumerate(outer)}}
    own = interleaved.own_seconds(stages)
    assert own["synthesize"] == pytest.approx(1.0)
    assert sum(own.values()) == pytest.approx(sum(inner) + 1.0 + sum(outer))
