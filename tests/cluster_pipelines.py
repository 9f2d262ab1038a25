"""What opens voices in the workers of tests: a mock as fast as files can be handed out, and a small voice."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from small_pipeline import LoudIsVoiced, small_pipeline
from ultimate_rvc.rvc.infer import f0 as f0_module

SECONDS_VARIABLE = "TEST_SECONDS_PER_FILE"

FloatArray = NDArray[np.float32]


class BackwardsPipeline:
    """Says everything backwards, at half the level; takes as long as a test asks for."""

    def __init__(self) -> None:
        self.voice = SimpleNamespace(sample_rate=16_000)
        self.device = torch.device("cpu")
        self.precision = SimpleNamespace(dtype=torch.float32)
        self.profiler = SimpleNamespace(reset=lambda: None, report=list)
        self.shifts_semitones: tuple[int, ...] = ()

    def convert_all(self, recordings: Any, settings: Any, progress: Any = None) -> list[FloatArray]:
        time.sleep(float(os.environ.get(SECONDS_VARIABLE, "0")) * len(recordings))
        self.shifts_semitones = (0,) * len(recordings)
        return [np.ascontiguousarray(waveform.mean(axis=0)[::-1]) / 2 for waveform, _ in recordings]


class BackwardsPipelines:
    """As :class:`WarmPipelines`, whatever file is named."""

    opened = 1

    def open(self, model_path: Path, settings: Any, **options: Any) -> Any:
        return BackwardsPipeline()

    def close(self) -> None:
        """There is nothing to give back."""


class DeadlyPipelines(BackwardsPipelines):
    """Dies of recordings of a second and more, as of memory that is not there."""

    def open(self, model_path: Path, settings: Any, **options: Any) -> Any:
        pipeline = BackwardsPipeline()

        def convert_all(recordings: Any, *others: Any) -> list[FloatArray]:
            if recordings[0][0].shape[-1] >= recordings[0][1]:
                os._exit(1)
            return BackwardsPipeline.convert_all(pipeline, recordings, *others)

        pipeline.convert_all = convert_all  # type: ignore[method-assign]
        return pipeline


class SmallPipelines(BackwardsPipelines):
    """The same small voice with random weights in each process."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        f0_module.load_pitch_methods = lambda names, device: LoudIsVoiced()  # type: ignore[assignment]
        f0_module.extract_f0 = (
            lambda method, waveform, **options: method.f0_hz(waveform)[  # type: ignore[assignment]
                : len(waveform) // 160 + 1
            ]
        )
        self._pipeline = small_pipeline()

    def open(self, model_path: Path, settings: Any, **options: Any) -> Any:
        return self._pipeline
