"""Which backend is in force, and what happens where it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from small_pipeline import snr_db
from small_synthesizer import random_inputs, small_config, small_synthesizer
from starter_voice import SAMPLE_RATE, SETTINGS, open_starter, recording
from ultimate_rvc import machine
from ultimate_rvc.choices import Backend
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.infer.optimization.backends import onnx_runtime, opening
from ultimate_rvc.rvc.infer.optimization.backends.onnx_runtime import OnnxRuntime
from ultimate_rvc.rvc.infer.optimization.backends.opening import Parts, with_backend_in_force
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, PartName, Runner
from ultimate_rvc.rvc.infer.optimization.backends.parts import synthesizer_parts
from ultimate_rvc.rvc.infer.optimization.backends.protocol import FLOAT16, FLOAT32, INT8, Plan
from ultimate_rvc.switches import OptimizationConfig

CPU = torch.device("cpu")
AUTO = OptimizationConfig(backend=Backend.AUTO)


class Faulty:
    """A backend that runs the network itself, and fails where it is told to."""

    name = Backend.ONNX
    precisions: tuple[str, ...] = (FLOAT32, FLOAT16)

    def __init__(
        self, *, export: Exception | None = None, change: Callable[[Tensor], Tensor] = lambda output: output
    ) -> None:
        self.fault, self.change = export, change

    def version(self) -> str:
        return "of tests"

    def export(self, part: Part, folder: Path, plan: Plan) -> None:
        if self.fault is not None and part.name is PartName.FLOW:
            raise self.fault

    def load(self, part: Part, folder: Path, plan: Plan) -> Runner:
        network = part.network

        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            part.replace(None)
            try:
                outputs = network(*inputs)
            finally:
                part.replace(taken.runners[part.name])
            return tuple(map(self.change, outputs if isinstance(outputs, tuple) else (outputs,)))

        taken = self.parts
        return run

    parts: Parts


def taken_by(backend: Faulty, precision: str = FLOAT32) -> tuple[Parts, Callable[[], Tensor]]:
    """A voice whose parts ``backend`` runs, and a way to hear it."""
    synthesizer = small_synthesizer(config=small_config((4, 2, 2)))
    backend.parts = parts = Parts(backend, Plan(precision, CPU, dict))
    parts.take(synthesizer_parts(synthesizer, (200, 512)))
    inputs = random_inputs(1, 60)
    return parts, lambda: synthesizer.infer(*inputs, noise_scale=0.0, source_noise_scale=0.0)


def expected() -> Tensor:
    inputs = random_inputs(1, 60)
    synthesizer = small_synthesizer(config=small_config((4, 2, 2)))
    return synthesizer.infer(*inputs, noise_scale=0.0, source_noise_scale=0.0)


def test_what_cannot_be_exported_is_run_by_torch_after_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    parts, sound = taken_by(Faulty(export=RuntimeError("no operation Flip\nmore")))
    assert parts.run_by_torch == {PartName.FLOW}
    torch.testing.assert_close(sound(), expected())
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert (
        record.getMessage()
        == "The backend onnx cannot run the flow here, so torch runs it: no operation Flip."
    )


def test_what_fails_while_it_runs_is_run_by_torch_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def fail(output: Tensor) -> Tensor:
        calls.append(output.shape)
        raise RuntimeError("no such shape")

    parts, sound = taken_by(Faulty(change=fail))
    for _ in range(2):
        torch.testing.assert_close(sound(), expected())
    assert parts.run_by_torch == {PartName.TEXT, PartName.FLOW, PartName.VOCODER}
    assert len(calls) == 3
    assert len([each for each in caplog.records if "cannot run" in each.getMessage()]) == 3


def test_no_memory_is_not_the_backends_fault() -> None:
    def exhaust(output: Tensor) -> Tensor:
        raise MemoryError

    parts, sound = taken_by(Faulty(change=exhaust))
    with pytest.raises(MemoryError):
        sound()
    assert parts.run_by_torch == set()


def test_an_overflow_in_half_precision_is_computed_by_torch() -> None:
    parts, sound = taken_by(Faulty(change=lambda output: output * torch.inf), FLOAT16)
    torch.testing.assert_close(sound(), expected())
    assert parts.run_by_torch == set()


def test_auto_is_torch_until_something_was_measured() -> None:
    assert with_backend_in_force(AUTO, CPU).backend is Backend.TORCH


@pytest.mark.parametrize(
    ("times", "config", "chosen"),
    [
        ({"torch": 0.6, "torchscript": 0.5}, AUTO, Backend.TORCHSCRIPT),
        ({"torch": 0.4, "torchscript": 0.5}, AUTO, Backend.TORCH),
        ({"torch": 0.4, "compile": 0.3}, AUTO, Backend.COMPILE),
        ({"of a newer version": 0.1, "torch": 0.4}, AUTO, Backend.TORCH),
        ({"tensorrt": 0.1, "torchscript": 0.5, "torch": 0.7}, AUTO, Backend.TORCHSCRIPT),  # not here
        ({"torch": 0.6, "torchscript": 0.5}, replace(AUTO, use_fp16=True), Backend.TORCH),
        ({"torchscript": 0.5}, replace(AUTO, backend=Backend.ONNX), Backend.ONNX),
    ],
)
def test_auto_takes_the_fastest_that_was_measured_and_is_here(
    monkeypatch: pytest.MonkeyPatch, times: dict[str, float], config: OptimizationConfig, chosen: Backend
) -> None:
    monkeypatch.setattr(machine, "measured_slowness", lambda device: {"matrices": 1.0, "convolutions": 1.0})
    machine.this_machine(CPU).note_backends(times)
    try:
        assert with_backend_in_force(config, CPU).backend is chosen
    finally:
        machine.forget()


def test_a_precision_that_a_backend_has_not_is_told() -> None:
    config = OptimizationConfig(backend=Backend.TORCHSCRIPT, use_fp16=True, device="cpu")
    with pytest.raises(SettingError, match="backend torchscript computes in float32, not in float16"):
        open_starter(config)


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(onnx_runtime, "version", version)
    with pytest.raises(
        SettingError, match="backend is mlx, which needs the package mlx: install the extra 'mlx'"
    ):
        open_starter(OptimizationConfig(backend=Backend.MLX, device="cpu"))


def leave_text_and_flow_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """In int8 they are those of float32 (the test below), and to export them takes as long as the others."""
    planned = opening.planned

    def without(*given: Any) -> tuple[list[Part], Plan]:
        parts, plan = planned(*given)
        return [part for part in parts if part.name in (PartName.CONTENT, PartName.VOCODER)], plan

    monkeypatch.setattr(opening, "planned", without)


@pytest.mark.parametrize(
    ("config", "least_db"),
    [
        (OptimizationConfig(backend=Backend.TORCHSCRIPT), 100.0),
        (OptimizationConfig(backend=Backend.ONNX, use_int8=True), 15.0),
    ],
)
def test_the_starter_voice_sings_the_same(
    monkeypatch: pytest.MonkeyPatch, config: OptimizationConfig, least_db: float
) -> None:
    if config.use_int8:
        leave_text_and_flow_to_torch(monkeypatch)
    audio = recording("song", 3.0, 2.0)
    reference, _ = open_starter(OptimizationConfig(device="cpu")).convert(audio, SAMPLE_RATE, SETTINGS)
    pipeline = open_starter(replace(config, device="cpu"))
    found, _ = pipeline.convert(audio, SAMPLE_RATE, SETTINGS)
    assert pipeline.backend.run_by_torch == set()
    assert least_db < snr_db(reference, found) < np.inf
    again, _ = open_starter(replace(config, device="cpu")).convert(audio, SAMPLE_RATE, SETTINGS)
    assert np.array_equal(found, again)


@pytest.mark.parametrize("number", [0, 1])
def test_text_encoder_and_flow_stay_as_they_are_in_int8(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    part = synthesizer_parts(small_synthesizer(), (200, 512))[number]
    assert part.name in (PartName.TEXT, PartName.FLOW)
    monkeypatch.setattr(onnx_runtime, "write_onnx", lambda part, path: path.write_bytes(b"in float32"))
    OnnxRuntime().export(part, tmp_path, Plan(INT8, CPU, dict))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"in float32"]


def test_onnx_says_when_it_leaves_the_gpu_alone(caplog: pytest.LogCaptureFixture) -> None:
    from ultimate_rvc.rvc.infer.optimization.backends.onnx_runtime import providers_for

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime computes on CUDA")
    for _ in range(3):
        assert providers_for(torch.device("cuda")) == ["CPUExecutionProvider"]
    assert caplog.messages == [
        "This ONNX Runtime computes nothing on cuda; the networks run on the processor."
    ]
