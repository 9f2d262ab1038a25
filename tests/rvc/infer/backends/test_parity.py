"""Every backend that runs here gives what torch gives: each part, each kind of voice, short and long."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from small_pipeline import snr_db
from small_synthesizer import random_inputs, small_config, small_synthesizer
from ultimate_rvc.choices import Backend, Vocoder
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.content import hubert
from ultimate_rvc.rvc.content.hubert import HubertEncoder
from ultimate_rvc.rvc.content.whisper_encoder import N_MELS, WhisperEncoder
from ultimate_rvc.rvc.infer.optimization.backends import parts as parts_module
from ultimate_rvc.rvc.infer.optimization.backends.finding import backend_named
from ultimate_rvc.rvc.infer.optimization.backends.opening import Parts
from ultimate_rvc.rvc.infer.optimization.backends.part import Part, PartName
from ultimate_rvc.rvc.infer.optimization.backends.parts import (
    content_part,
    content_parts,
    pitch_parts,
    synthesizer_parts,
)
from ultimate_rvc.rvc.infer.optimization.backends.protocol import FLOAT32, Plan
from ultimate_rvc.rvc.infer.optimization.fixed_tiles import TiledRenderer
from ultimate_rvc.rvc.infer.optimization.rendering import VocoderRenderer
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.vocoder import VocoderRender, render_whole
from ultimate_rvc.rvc.pitch import rmvpe_network
from ultimate_rvc.rvc.pitch.rmvpe_network import FRAME_GRID, RMVPENetwork

SMALL_HUBERT = Path(__file__).parents[3] / "data" / "content" / "small_hubert"
CPU = torch.device("cpu")
HERE = [Backend.TORCHSCRIPT, Backend.ONNX, Backend.OPENVINO, Backend.MLX]
VOICES = {
    "HiFi-GAN": (Vocoder.HIFI_GAN, True),
    "HiFi-GAN without f0": (Vocoder.HIFI_GAN, False),
    "MRF HiFi-GAN": (Vocoder.MRF_HIFI_GAN, True),
    "RefineGAN": (Vocoder.REFINE_GAN, True),
}
OWN_PARTS = {
    "HiFi-GAN": {PartName.TEXT, PartName.FLOW, PartName.VOCODER},
    "HiFi-GAN without f0": {PartName.TEXT, PartName.VOCODER},
    "MRF HiFi-GAN": {PartName.VOCODER},
    "RefineGAN": {PartName.VOCODER},
}
FRAMES = {"0.5 s": 50, "3 s": 300, "60 s": 6000}  # without a tile, in one, in many
TILES = (200, 512)
# Every kind of layer once or twice: what an export takes grows with their number. Few samples for each frame.
SIZES = replace(
    small_config((4, 4)), layers=1, resblock_kernel_sizes=(3, 7), resblock_dilations=((1, 3),) * 2
)
RELATIVE_ERROR = 1e-3
EXACT_DB = 60.0


@pytest.fixture(scope="module", autouse=True)
def _forgotten() -> Iterator[None]:
    """What is kept between the tests here, gigabytes, is given back after them."""
    yield
    by_torch.cache_clear()
    voice_by.cache_clear()
    gc.collect()


def parts_of(backend: Backend) -> Parts:
    """What runs parts with ``backend``, or a skipped test where its libraries are missing."""
    try:
        backend_named(backend).version()
    except SettingError as error:
        pytest.skip(str(error))
    return Parts(backend_named(backend), Plan(FLOAT32, CPU, dict))


def rendered(synthesizer: Synthesizer, frames: int, render: VocoderRender = render_whole) -> Tensor:
    """Its sound with all noise on, the same at every call."""
    inputs = random_inputs(1, frames, has_f0=synthesizer.has_f0)
    return synthesizer.infer(*inputs, generator=torch.Generator().manual_seed(3), render=render)


def voice_called(name: str) -> Synthesizer:
    vocoder, has_f0 = VOICES[name]
    return small_synthesizer(vocoder, has_f0=has_f0, config=SIZES)


@cache
def by_torch(voice: str, frames: int) -> Tensor:
    return rendered(voice_called(voice), frames)


@cache  # what it takes is to export the parts and to open them
def voice_by(backend: Backend, voice: str) -> tuple[Synthesizer, Parts, list[Part]]:
    """A voice whose parts ``backend`` runs.

    What is the same network in HiFi-GAN's voice is taken there alone.
    """
    parts, synthesizer = parts_of(backend), voice_called(voice)
    tiles = TILES if voice == "HiFi-GAN" else TILES[:1]
    taken = [part for part in synthesizer_parts(synthesizer, tiles) if part.name in OWN_PARTS[voice]]
    parts.take(taken)
    assert set(parts.runners) == OWN_PARTS[voice]
    return synthesizer, parts, taken


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("backend", HERE)
def test_a_voice_sounds_the_same(backend: Backend, voice: str) -> None:
    synthesizer, parts, _ = voice_by(backend, voice)
    # What differs between lengths of tiles is the same for each kind.
    render = TiledRenderer(TILES if voice == "HiFi-GAN" else TILES[:1], VocoderRenderer())
    for length, frames in FRAMES.items():
        if length == "60 s" and voice != "HiFi-GAN":
            continue  # tile by tile, as the 3 s of each are
        found = rendered(synthesizer, frames, render)
        assert snr_db(by_torch(voice, frames).numpy(), found.numpy()) > EXACT_DB, length
    assert parts.run_by_torch == set()


@pytest.mark.parametrize("backend", HERE)
def test_the_stages_of_a_voice_are_near(backend: Backend) -> None:
    _, parts, taken = voice_by(backend, "HiFi-GAN")
    for part in taken:
        assert_near(part, parts, *(part.lengths or (50, 300)))


@pytest.mark.parametrize("backend", HERE)
def test_the_starter_encoder_is_near(backend: Backend) -> None:
    torch.manual_seed(2)
    part = content_part(WhisperEncoder(1).eval().requires_grad_(False))
    parts = parts_of(backend)
    parts.take([part])
    assert_near(part, parts, 3, 25, 500)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("backend", HERE)
def test_hubert_is_near(
    backend: Backend, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes samples, whose number is no multiple of its frames."""
    monkeypatch.setattr(hubert, "V1_LAYERS", 1)
    encoder = HubertEncoder("small", hubert_of_two_layers(tmp_path / "hubert"), "cpu")
    (part,) = content_parts(encoder, version)
    parts = parts_of(backend)
    waveform = torch.randn(1, 16_000 + 123, generator=torch.Generator().manual_seed(8)) / 10
    expected = encoder.encode(waveform, version)
    parts.take([part])
    assert_near(part, parts, 4 * 320 + 400, 9_999)
    torch.testing.assert_close(encoder.encode(waveform, version), expected, atol=1e-3, rtol=1e-3)
    assert parts.run_by_torch == set()


def hubert_of_two_layers(folder: Path) -> Path:
    """The first two of twelve layers, all alike."""
    shutil.copytree(SMALL_HUBERT, folder)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 12', '"num_hidden_layers": 2'))
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    left_out = tuple(f"encoder.layers.{layer}." for layer in range(2, 12))
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(left_out)}
    torch.save(kept, folder / "pytorch_model.bin")
    return folder


def test_windows_of_a_batch_are_encoded_one_by_one() -> None:
    torch.manual_seed(2)
    network = WhisperEncoder(1).eval().requires_grad_(False)
    mels = torch.randn(3, N_MELS, 100)
    expected = network(mels)
    parts = parts_of(Backend.TORCHSCRIPT)
    parts.take([content_part(network)])
    torch.testing.assert_close(network(mels), expected, atol=1e-4, rtol=1e-4)
    assert parts.run_by_torch == set()


@pytest.mark.parametrize("backend", HERE)
def test_rmvpe_is_near(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer levels, layers and channels than the file's, but some of every kind."""
    for name, size in {
        "ENCODER_LEVELS": 2,
        "INTERMEDIATE_LAYERS": 1,
        "BLOCKS_PER_LAYER": 2,  # the first has a convolution beside it, the others have none
        "FIRST_CHANNELS": 4,
        "GRU_WIDTH": 16,
    }.items():
        monkeypatch.setattr(rmvpe_network, name, size)
    monkeypatch.setattr(parts_module, "FRAME_GRID", 4)  # torch exports a GRU step by step of its example
    torch.manual_seed(4)
    network = RMVPENetwork().eval().requires_grad_(False)

    class Method:
        """A pitch method with a network."""

    method = Method()
    method.network = network  # type: ignore[attr-defined]
    (part,) = pitch_parts(method)
    parts = parts_of(backend)
    parts.take([part])
    if backend is Backend.ONNX:  # its exporter fixes the length of a GRU
        assert parts.run_by_torch == {PartName.PITCH}
        return
    assert_near(part, parts, 16)
    assert network(torch.randn(1, 128, 3 * FRAME_GRID)).shape == (1, 3 * FRAME_GRID, 360)
    assert parts.run_by_torch == set()


def test_openvino_reports_to_nobody() -> None:
    """Where it finds ``openvino_telemetry``, it tells Google Analytics of every import and every model."""
    part = content_part(WhisperEncoder(1).eval().requires_grad_(False))
    parts_of(Backend.OPENVINO).take([part])
    from openvino.tools.ovc import convert_impl, telemetry_utils

    for module in (convert_impl, telemetry_utils):
        assert module.tm.__name__ == "openvino.tools.ovc.telemetry_stub"


def assert_near(part: Part, parts: Parts, *lengths: int) -> None:
    """Compare outputs for an example of each length, relative to the largest number of each."""
    run = parts.runners[part.name]
    for steps in lengths:
        inputs = part.example(steps, seed=steps)
        for one, other, port in zip(part.run_once(run, *inputs), run(*inputs), part.outputs, strict=True):
            error = (one - other).abs().max() / one.abs().max()
            assert error < RELATIVE_ERROR, (part.name, port.name, steps, float(error))
    assert parts.run_by_torch == set(), part.name
