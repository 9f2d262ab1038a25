"""Core ML: conversion and structure here, prediction on a stand-in (macOS alone predicts)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import Conv1d

from small_synthesizer import small_config, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.errors import BackendError
from ultimate_rvc.rvc.content.whisper_encoder import WhisperEncoder
from ultimate_rvc.rvc.infer.optimization.backends.core_ml import CoreML, convert, model_runner
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, PartName
from ultimate_rvc.rvc.infer.optimization.backends.parts import content_part, synthesizer_parts
from ultimate_rvc.rvc.infer.optimization.backends.protocol import FLOAT16, FLOAT32, Plan

TILES = (200, 512)
# Every kind of layer once or twice: what a conversion takes grows with their number.
SIZES = replace(
    small_config((4, 4)), layers=1, resblock_kernel_sizes=(3, 7), resblock_dilations=((1, 3),) * 2
)
coremltools = pytest.importorskip("coremltools")


def parts_of(vocoder: Vocoder = Vocoder.HIFI_GAN) -> dict[PartName, Part]:
    synthesizer = small_synthesizer(vocoder, config=SIZES)
    return {part.name: part for part in synthesizer_parts(synthesizer, TILES)}


@pytest.mark.parametrize(("precision", "half"), [(FLOAT32, False), (FLOAT16, True)])
def test_a_vocoder_becomes_a_model_of_each_length(tmp_path: Path, precision: str, half: bool) -> None:
    part = parts_of()[PartName.VOCODER]
    CoreML().export(part, tmp_path, Plan(precision, torch.device("cpu"), dict))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-200.mlpackage", "part-512.mlpackage"]
    for length in TILES:
        package = tmp_path / f"part-{length}.mlpackage"
        spec = coremltools.models.MLModel(str(package), skip_model_load=True).get_spec()
        shapes = {each.name: list(each.type.multiArrayType.shape) for each in spec.description.input}
        assert shapes == {port.name: _shape(port.shape, length * port.per_step) for port in part.inputs}
        operations = _operations(spec)
        # Channels first, as the Neural Engine wants them.
        assert operations.count("conv") == sum(isinstance(each, Conv1d) for each in part.network.modules())
        assert ("cast" in operations) is half


def test_an_encoder_becomes_one_model_for_all_lengths(tmp_path: Path) -> None:
    part = content_part(WhisperEncoder(1).eval().requires_grad_(False))
    CoreML().export(part, tmp_path, Plan(FLOAT32, torch.device("cpu"), dict))
    (package,) = tmp_path.iterdir()
    spec = coremltools.models.MLModel(str(package), skip_model_load=True).get_spec()
    (described,) = spec.description.input
    sizes = described.type.multiArrayType.shapeRange.sizeRanges[2]
    assert (sizes.lowerBound, sizes.upperBound) == (part.fewest * 2, part.most * 2)


@pytest.mark.parametrize("name", [PartName.TEXT, PartName.FLOW])
def test_text_encoder_and_flow_convert(name: PartName) -> None:
    assert (
        "matmul" in _operations(convert(parts_of()[name], None, half=False).get_spec())
        or name is PartName.FLOW
    )


class StandIn:
    """A model that answers with torch, and keeps what it was given."""

    def __init__(self, part: Part) -> None:
        self.part, self.given = part, dict[str, Any]()

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.given = inputs
        tensors = [torch.from_numpy(inputs[port.name]) for port in self.part.inputs]
        outputs = self.part.run(*(each.long() if each.dtype is torch.int32 else each for each in tensors))
        return {port.name: each.numpy() for port, each in zip(self.part.outputs, outputs, strict=True)}


def test_each_length_is_run_by_its_model() -> None:
    part = parts_of()[PartName.VOCODER]
    models = {length: StandIn(part) for length in TILES}
    run = model_runner(part, dict(models))
    for length in TILES:
        inputs = part.example(length)
        (found,) = run(*inputs)
        torch.testing.assert_close(found, part.run(*inputs)[0])
        assert models[length].given["latent"].shape[-1] == length
    with pytest.raises(BackendError, match="no model for 300 steps"):
        run(*part.example(300))


def test_whole_numbers_are_given_in_32_bits() -> None:
    part = parts_of()[PartName.TEXT]
    model = StandIn(part)
    mean, _ = model_runner(part, {None: model})(*part.example(64))
    assert model.given["pitch"].dtype == np.int32
    torch.testing.assert_close(mean, part.run(*part.example(64))[0])


def _shape(shape: tuple[int | None, ...], steps: int) -> list[int]:
    return [steps if size is None else size for size in shape]


def _operations(spec: Any) -> list[str]:
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    return [operation.type for operation in block.operations]
