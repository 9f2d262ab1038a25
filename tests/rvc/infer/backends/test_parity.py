"""Every backend that runs here gives what torch gives: each part, each kind of voice, short and long."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from small_pipeline import snr_db
from small_synthesizer import random_inputs, small_config, small_synthesizer
from ultimate_rvc.choices import Backend, Vocoder
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.content.hubert import HubertEncoder
from ultimate_rvc.rvc.content.whisper_encoder import N_MELS, WhisperEncoder
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
FRAMES = {"0.5 s": 50, "3 s": 300, "60 s": 6000}
TILES = (200, 512)
RATES = (4, 2, 2)  # few samples for each frame, so that a minute takes a moment
RELATIVE_ERROR = 1e-3
EXACT_DB = 60.0


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
    return small_synthesizer(vocoder, has_f0=has_f0, config=small_config(RATES))


@cache
def by_torch(voice: str, frames: int) -> Tensor:
    return rendered(voice_called(voice), frames)


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("backend", HERE)
def test_a_voice_sounds_the_same(backend: Backend, voice: str) -> None:
    parts, synthesizer = parts_of(backend), voice_called(voice)
    tiles = (
        TILES if voice == "HiFi-GAN" else TILES[:1]
    )  # what differs between lengths is the same for each kind
    parts.take(synthesizer_parts(synthesizer, tiles))
    render = TiledRenderer(tiles, VocoderRenderer())
    for length, frames in FRAMES.items():
        if length == "60 s" and voice != "HiFi-GAN":
            continue  # tile by tile, as the 3 s of each are
        found = rendered(synthesizer, frames, render)
        assert snr_db(by_torch(voice, frames).numpy(), found.numpy()) > EXACT_DB, length
    assert parts.run_by_torch == set()


@pytest.mark.parametrize("backend", HERE)
def test_the_stages_of_a_voice_are_near(backend: Backend) -> None:
    parts = parts_of(backend)
    for part in synthesizer_parts(small_synthesizer(config=small_config(RATES)), TILES[:1]):
        assert_near(part, parts, *(part.lengths or (50, 300)))


@pytest.mark.parametrize("backend", HERE)
def test_the_starter_encoder_is_near(backend: Backend) -> None:
    torch.manual_seed(2)
    part = content_part(WhisperEncoder(2).eval().requires_grad_(False))
    parts = parts_of(backend)
    assert_near(part, parts, 3, 25, 500)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("backend", HERE)
def test_hubert_is_near(backend: Backend, version: str) -> None:
    """It takes samples, whose number is no multiple of its frames."""
    encoder = HubertEncoder("small", SMALL_HUBERT, "cpu")
    (part,) = content_parts(encoder, version)
    parts = parts_of(backend)
    waveform = torch.randn(1, 16_000 + 123, generator=torch.Generator().manual_seed(8)) / 10
    expected = encoder.encode(waveform, version)
    assert_near(part, parts, 4 * 320 + 400, 9_999)
    parts.take([part])
    torch.testing.assert_close(encoder.encode(waveform, version), expected, atol=1e-3, rtol=1e-3)
    assert parts.run_by_torch == set()


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
def test_rmvpe_is_near(backend: Backend) -> None:
    torch.manual_seed(4)
    network = RMVPENetwork().eval().requires_grad_(False)

    class Method:
        """A pitch method with a network."""

    method = Method()
    method.network = network  # type: ignore[attr-defined]
    (part,) = pitch_parts(method)
    parts = parts_of(backend)
    if backend is Backend.ONNX:  # its exporter fixes the length of a GRU
        parts.take([part])
        assert parts.run_by_torch == {PartName.PITCH}
        return
    assert_near(part, parts, 2)
    assert network(torch.randn(1, 128, 3 * FRAME_GRID)).shape == (1, 3 * FRAME_GRID, 360)
    assert parts.run_by_torch == set()


def assert_near(part: Part, parts: Parts, *lengths: int) -> None:
    """Compare outputs for an example of each length, relative to the largest number of each."""
    part.replace(None)
    examples = [part.example(steps, seed=steps) for steps in lengths]
    expected = [part.run(*inputs) for inputs in examples]
    parts.take([part])
    assert parts.run_by_torch == set(), PartName
    for steps, inputs, wanted in zip(lengths, examples, expected, strict=True):
        found = parts.runners[part.name](*inputs)
        for one, other, port in zip(wanted, found, part.outputs, strict=True):
            error = (one - other).abs().max() / one.abs().max()
            assert error < RELATIVE_ERROR, (part.name, port.name, steps, float(error))
    part.replace(None)
