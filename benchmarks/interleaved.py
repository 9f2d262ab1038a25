"""Configurations run in turn in one process, so that whatever else the machine does meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from random_models import SAMPLE_RATE, ModelSize, conversion_settings, open_pipeline, vocal
from ultimate_rvc.device import resolve_device
from ultimate_rvc.errors import OutOfMemoryError
from ultimate_rvc.rvc.infer.optimization.profiler import SEPARATOR, PerformanceProfiler, peak_device_bytes
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig
from vocoder import own_peak_mb, snr_db  # beside this file

FloatArray = NDArray[np.float32]
Tell = Callable[[str], None]
BYTES_PER_MB = 1e6
CPU_WARM_UP_SECONDS = 1.0  # nothing there depends on the length of the audio, unless it is compiled
SILENT_BELOW_DBFS = -60.0
LEVEL_FRAME = SAMPLE_RATE // 100


class Converter(Protocol):
    """What is measured of a Pipeline."""

    profiler: PerformanceProfiler

    def convert(
        self, waveform: FloatArray, sample_rate: int, settings: ConversionSettings
    ) -> tuple[FloatArray, int]: ...


@dataclass(frozen=True)
class Work:
    """What every configuration has to do; ``models`` is the folder of :func:`write_models`."""

    models: Path
    size: ModelSize
    seconds: float
    seed: int

    @property
    def settings(self) -> ConversionSettings:
        return conversion_settings(self.size, self.seed)


@dataclass(frozen=True)
class Peak:
    """Most memory in MB: of a process with one configuration alone, and of its device (None: a CPU)."""

    host_mb: float
    device_mb: float | None


@dataclass
class Measurement:
    """The runs of one configuration."""

    name: str
    pipeline: Converter
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    output: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))

    def run(self, audio: FloatArray, settings: ConversionSettings) -> None:
        """Convert once and keep times and output."""
        self.pipeline.profiler.reset()
        wall, cpu = time.perf_counter(), time.process_time()
        self.output, _ = self.pipeline.convert(audio, SAMPLE_RATE, settings)
        self.seconds.append(time.perf_counter() - wall)
        self.cpu_seconds.append(time.process_time() - cpu)
        self.stages.append({stage.name: stage.seconds for stage in self.pipeline.profiler.report()})

    @property
    def median_seconds(self) -> float:
        return statistics.median(self.seconds)

    @property
    def median_stages(self) -> dict[str, float]:
        """Seconds by stage, in the order of work."""
        names = dict.fromkeys(name for run in self.stages for name in run)
        return {name: statistics.median(run.get(name, 0.0) for run in self.stages) for name in names}


def as_measured(config: OptimizationConfig) -> OptimizationConfig:
    """``config`` with its stages timed, and without memory: no repeat may profit from the one before."""
    return replace(config, enable_profiling=True, feature_cache=False)


def warm_up_seconds(config: OptimizationConfig, seconds: float) -> float:
    """GPUs and compiled networks choose kernels by shape and therefore see the whole vocal first."""
    if config.compile_model or resolve_device(config.device).type != "cpu":
        return seconds
    return min(seconds, CPU_WARM_UP_SECONDS)


def measure(
    configs: dict[str, OptimizationConfig], work: Work, repeats: int, tell: Tell
) -> list[Measurement]:
    """Load every configuration, warm each up, then run them in turn, ``repeats`` times."""
    audio, settings = vocal(work.seconds), work.settings
    measurements = []
    for name, config in configs.items():
        tell(f"{name}: loading and warming up")
        pipeline = open_pipeline(work.models, work.size, config)
        warm_up = audio[: round(warm_up_seconds(config, work.seconds) * SAMPLE_RATE)]
        pipeline.convert(warm_up, SAMPLE_RATE, settings)
        measurements.append(Measurement(name, pipeline))
    run_in_turn(measurements, audio, settings, repeats, tell)
    return measurements


def run_in_turn(
    measurements: Sequence[Measurement],
    audio: FloatArray,
    settings: ConversionSettings,
    repeats: int,
    tell: Tell,
) -> None:
    for repeat in range(1, repeats + 1):
        for measurement in measurements:
            measurement.run(audio, settings)
            tell(f"{measurement.name}: run {repeat} of {repeats}, {measurement.seconds[-1]:.2f} s")


# --- memory -------------------------------------------------------------------------------------


def measure_peak(name: str, config: OptimizationConfig, work: Work) -> Peak:
    """Run ``config`` in a fresh process: a peak is counted for the whole life of a process.

    Raises
    ------
    OutOfMemoryError
        The process was killed, which is what a system does to one that takes too much memory.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(_peak_of_this_process, config, work).result()
        except BrokenProcessPool:
            raise OutOfMemoryError(
                f"The process that measured the memory of {name} ended early; if it told nothing above, the "
                "system killed it for want of memory: close other programs or give fewer --seconds."
            ) from None


def _peak_of_this_process(config: OptimizationConfig, work: Work) -> Peak:
    pipeline = open_pipeline(work.models, work.size, config)
    pipeline.convert(vocal(work.seconds), SAMPLE_RATE, work.settings)
    device_bytes = peak_device_bytes(pipeline.device)
    return Peak(own_peak_mb(), None if device_bytes is None else device_bytes / BYTES_PER_MB)


# --- accuracy -----------------------------------------------------------------------------------


def accuracy(reference: FloatArray, output: FloatArray) -> dict[str, Any]:
    """Largest and mean absolute difference and SNR of two waveforms of the same length.

    All are None when ``output`` is not finite; the SNR alone when the two are equal.
    """
    if not np.isfinite(output).all():
        return {"max_difference": None, "mean_difference": None, "snr_db": None}
    difference = np.abs(output.astype(np.float64) - reference)
    ratio = None
    if difference.any() and reference.any():
        ratio = snr_db(torch.from_numpy(reference), torch.from_numpy(output))
    return {
        "max_difference": float(difference.max(initial=0.0)),
        "mean_difference": float(difference.mean()) if len(difference) else 0.0,
        "snr_db": ratio,
    }


def silent_share(audio: FloatArray) -> float:
    """The part of ``audio`` in frames of 10 ms below -60 dBFS."""
    frames = audio[: len(audio) // LEVEL_FRAME * LEVEL_FRAME].reshape(-1, LEVEL_FRAME)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    return float((power < 10 ** (SILENT_BELOW_DBFS / 10)).mean()) if len(frames) else 0.0


def own_seconds(stages: dict[str, float]) -> dict[str, float]:
    """Each stage without the stages inside it, so that they add up."""
    inner = dict.fromkeys(stages, 0.0)
    for name, seconds in stages.items():
        outer = name.rpartition(SEPARATOR)[0]
        if outer in inner:
            inner[outer] += seconds
    return {name: max(seconds - inner[name], 0.0) for name, seconds in stages.items()}
