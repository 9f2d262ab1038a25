"""Voices in 8 bits: how far their weights are from the original, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from starter_voice import SAMPLE_RATE, SETTINGS, open_starter, recording
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.paths import packaged_voice
from ultimate_rvc.rvc.infer.pipeline import Pipeline
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm
from ultimate_rvc.rvc.voice_file.describe import Dialect
from ultimate_rvc.rvc.voice_file.eight_bits import from_eight_bits, to_eight_bits
from ultimate_rvc.rvc.voice_file.read import load_voice_model, read_voice_file, read_voice_metadata
from ultimate_rvc.rvc.voice_file.write import write_eight_bit_voice, write_rvc_voice
from ultimate_rvc.switches import OptimizationConfig
from voice_factory import write_voice

KEY = "enc_p.proj.weight"


def eight_bit_file(folder: Path, **spec: object) -> Path:
    path = folder / "v.safetensors"
    write_eight_bit_voice(path, read_voice_file(write_voice(folder / "source.pth", **spec)))
    return path


@given(
    rows=st.lists(st.floats(-50, 38).map(lambda power: 10.0**power), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
)
def test_no_weight_is_further_off_than_half_a_step_of_its_row(rows: list[float], seed: int) -> None:
    largest = torch.tensor(rows, dtype=torch.float64).float()
    drawn = torch.rand(len(rows), 3, 7, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    weight = drawn * largest[:, None, None]
    narrow = to_eight_bits({"w": weight, "b": weight[:, 0, 0]})
    again = from_eight_bits(narrow)
    step = (weight.abs().amax((1, 2)).double() / 127).clamp_min(2.0**-100)
    assert ((again["w"].double() - weight.double()).abs().amax((1, 2)) <= step * 0.5001).all()
    assert torch.equal(again["b"], weight[:, 0, 0])
    # Numbers and scales are their own nearest ones: writing again loses nothing more.
    twice = to_eight_bits(again)
    assert all(torch.equal(twice[key], tensor) for key, tensor in narrow.items())


@pytest.mark.parametrize("vocoder", list(Vocoder))
def test_a_voice_in_eight_bits_is_half_as_large_and_the_same_when_written_again(
    tmp_path: Path, vocoder: Vocoder
) -> None:
    path = eight_bit_file(tmp_path, vocoder=vocoder, speaker_names=("Ann",), initial_channels=128)
    original, voice = read_voice_file(tmp_path / "source.pth"), read_voice_file(path)
    assert voice.metadata.dialect is Dialect.EIGHT_BITS
    assert voice.metadata.speakers == original.metadata.speakers
    assert read_voice_metadata(path) == voice.metadata
    weights = fold_weight_norm({key: tensor.float() for key, tensor in original.state.items()})
    assert voice.state.keys() == weights.keys()
    for key, tensor in weights.items():
        assert torch.allclose(voice.state[key].float(), tensor, atol=float(tensor.abs().max()) / 250)
    write_rvc_voice(tmp_path / "half.pth", original)
    write_eight_bit_voice(tmp_path / "again.safetensors", voice)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert path.stat().st_size < 0.65 * (tmp_path / "half.pth").stat().st_size
    assert load_voice_model(path).vocoder is vocoder


def test_the_starter_voice_in_eight_bits_sounds_alike(tmp_path: Path) -> None:
    starter = packaged_voice("starter")
    write_eight_bit_voice(tmp_path / "v.safetensors", read_voice_file(starter))
    assert (tmp_path / "v.safetensors").stat().st_size < 0.55 * starter.stat().st_size
    config = OptimizationConfig(device="cpu", fast_vocoder=True)
    small = Pipeline.open(tmp_path / "v.safetensors", SETTINGS, optimization=config)
    waveform = recording("speech", seconds=3.0)
    expected, _ = open_starter(config).convert(waveform, SAMPLE_RATE, SETTINGS)
    converted, _ = small.convert(waveform, SAMPLE_RATE, SETTINGS)
    snr_db = 10 * np.log10(np.sum(expected**2) / np.sum((converted - expected) ** 2))
    assert 30 < snr_db < 60


def without_scales(tensors: dict[str, Tensor]) -> None:
    del tensors[f"{KEY}.scale"]


def with_fewer_scales(tensors: dict[str, Tensor]) -> None:
    tensors[f"{KEY}.scale"] = tensors[f"{KEY}.scale"][:-1].clone()


def with_scales_in_half(tensors: dict[str, Tensor]) -> None:
    tensors[f"{KEY}.scale"] = tensors[f"{KEY}.scale"].half()


def with_endless_scales(tensors: dict[str, Tensor]) -> None:
    tensors[f"{KEY}.scale"][0] = float("inf")


def with_numbers_alone(tensors: dict[str, Tensor]) -> None:
    tensors[KEY] = torch.tensor(3, dtype=torch.int8)


def with_another_shape(tensors: dict[str, Tensor]) -> None:
    tensors[KEY] = tensors[KEY].reshape(tensors[KEY].shape[0], -1, 1, 1)


def with_scales_of_nothing(tensors: dict[str, Tensor]) -> None:
    tensors["nothing.scale"] = torch.ones(3)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without_scales, f"is damaged: it lacks the scales of the 8-bit weight '{KEY}'; export it again."),
        (with_fewer_scales, f"is damaged: it holds other scales than those of the 8-bit weight '{KEY}'"),
        (with_scales_in_half, "is damaged: it holds other scales"),
        (with_endless_scales, "is damaged: it holds other scales"),
        (with_numbers_alone, "is damaged: it holds other scales"),
        (with_another_shape, KEY),
        (with_scales_of_nothing, "nothing.scale"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path: Path, spoil: object, told: str) -> None:
    path = eight_bit_file(tmp_path)
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    spoil(tensors)  # type: ignore[operator]
    path.write_bytes(safetensors.torch.save(tensors, metadata))
    with pytest.raises(VoiceFileError) as caught:
        load_voice_model(path)
    assert told in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = eight_bit_file(tmp_path)
    whole = path.read_bytes()
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(VoiceFileError, match=r"v\.safetensors is "):
            read_voice_file(path)


def test_numbers_of_another_tool_are_not_taken_for_ours(tmp_path: Path) -> None:
    path = eight_bit_file(tmp_path)
    tensors = safetensors.torch.load_file(path)
    path.write_bytes(safetensors.torch.save(tensors, {"format": "rvc-voice", "config": json.dumps([])}))
    with pytest.raises(VoiceFileError, match=r"holds torch\.int8 values"):
        read_voice_file(path)
