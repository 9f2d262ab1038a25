"""The vocoder over parts of a window: the sound of the whole, whatever the voice, length and randomness."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from small_pipeline import snr_db
from small_synthesizer import random_inputs, small_config, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder import compiled_code
from ultimate_rvc.rvc.infer.optimization.cpu_vocoder.compiled_code import has_bfloat16
from ultimate_rvc.rvc.infer.optimization.rendering import VocoderRenderer, renderer_for, rounds_products
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork, render_whole
from ultimate_rvc.switches import OptimizationConfig

KINDS = [(vocoder, True) for vocoder in Vocoder] + [(Vocoder.HIFI_GAN, False)]
each_kind = pytest.mark.parametrize(("vocoder", "has_f0"), KINDS, ids=lambda value: str(value))
CPU = torch.device("cpu")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class CountingVocoder:
    """A vocoder that keeps the number of frames of each call."""

    def __init__(self, network: VocoderNetwork) -> None:
        self.network = network
        self.hop_length = network.hop_length
        self.context_frames = network.context_frames
        self.draws_noise = network.draws_noise
        self.frames: list[int] = []

    def excitation(self, f0_hz: Tensor, noise: Noise, valid: Any = None) -> Tensor:
        return self.network.excitation(f0_hz, noise, valid)

    def __call__(self, latent: Tensor, *arguments: Any) -> Tensor:
        self.frames.append(latent.shape[-1])
        return self.network(latent, *arguments)


def vocoder_inputs(synthesizer: Any, frames: int, has_f0: bool, batch: int = 1) -> tuple[Any, ...]:
    features, pitch, f0_hz, speaker_id = random_inputs(batch, frames, has_f0=has_f0)
    speaker = synthesizer.speaker(speaker_id)
    latent = synthesizer.latent(features, pitch, speaker, Noise(0.0))
    source = None if f0_hz is None else synthesizer.vocoder.excitation(f0_hz, Noise(0.0))
    return latent, source, speaker


@each_kind
@settings(max_examples=4, deadline=None)
@given(frames=st.integers(1, 80), tile_frames=st.integers(15, 60))
@torch.inference_mode()
def test_tiles_of_any_size_give_the_whole(
    vocoder: Vocoder, has_f0: bool, frames: int, tile_frames: int
) -> None:
    # In float64, where a wrong edge cannot hide behind rounding.
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0).double()
    latent, source, speaker = vocoder_inputs(synthesizer, frames, has_f0)
    arguments = (synthesizer.vocoder, latent, source, speaker, Noise(0.0))
    tiled = VocoderRenderer(tile_frames)(*arguments)
    torch.testing.assert_close(tiled, render_whole(*arguments), rtol=0, atol=1e-12)


@each_kind
@pytest.mark.parametrize("tile_frames", [None, 20])
@torch.inference_mode()
def test_a_padded_batch_is_the_batch_over_the_whole(
    vocoder: Vocoder, has_f0: bool, tile_frames: int | None
) -> None:
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0).double()
    latent, source, speaker = vocoder_inputs(synthesizer, 50, has_f0, batch=2)
    valid = (50, 3)

    def arguments() -> tuple[Any, ...]:  # a vocoder clears the tails of its inputs in place
        own_source = None if source is None else source.clone()
        return synthesizer.vocoder, latent.clone(), own_source, speaker, Noise(0.0), valid

    rendered = VocoderRenderer(tile_frames)(*arguments())
    torch.testing.assert_close(rendered, render_whole(*arguments()), rtol=0, atol=1e-12)


@each_kind
@settings(max_examples=4, deadline=None)
@given(borders=st.lists(st.integers(0, 70), min_size=2, max_size=6, unique=True).map(sorted))
@torch.inference_mode()
def test_only_what_is_wanted_is_there_and_it_is_that_of_the_whole(
    vocoder: Vocoder, has_f0: bool, borders: list[int]
) -> None:
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0).double()
    latent, source, speaker = vocoder_inputs(synthesizer, 70, has_f0, batch=2)
    arguments = (synthesizer.vocoder, latent, source, speaker, Noise(0.0))
    spans = list(zip(borders[::2], borders[1::2], strict=False))
    rendered = VocoderRenderer(25)(*arguments, wanted=[spans, [(0, 70)]])
    whole = render_whole(*arguments)
    heard = torch.zeros(70, dtype=torch.bool)
    for start, end in spans:
        heard[start:end] = True
    heard = heard.repeat_interleave(synthesizer.config.hop_length)
    torch.testing.assert_close(rendered[0, 0], torch.where(heard, whole[0, 0], 0.0), rtol=0, atol=1e-12)
    torch.testing.assert_close(rendered[1], whole[1], rtol=0, atol=1e-12)


@torch.inference_mode()
def test_a_seeded_render_in_tiles_draws_the_same_random_numbers() -> None:
    synthesizer = small_synthesizer().double()
    inputs = random_inputs(1, 100)
    whole = synthesizer.infer(*inputs, generator=seeded(3))
    tiled = synthesizer.infer(*inputs, generator=seeded(3), render=VocoderRenderer(30))
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-6)  # infer returns float32
    assert not torch.equal(whole, synthesizer.infer(*inputs, generator=seeded(4)))


@torch.inference_mode()
def test_no_call_is_wider_than_a_tile_and_its_context_and_gaps_are_not_computed() -> None:
    synthesizer = small_synthesizer()
    network = CountingVocoder(synthesizer.vocoder)
    latent, source, speaker = vocoder_inputs(synthesizer, 601, True)
    VocoderRenderer(200)(network, latent, source, speaker, Noise(0.0))
    context = network.context_frames
    assert sorted(network.frames) == sorted(
        [150 + context, 150 + 2 * context, 150 + 2 * context, 151 + context]
    )
    network.frames.clear()
    VocoderRenderer(200)(network, latent, source, speaker, Noise(0.0), wanted=[[(0, 50), (300, 350)]])
    assert sorted(network.frames) == [50 + context, 50 + 2 * context]


@pytest.mark.parametrize(
    ("vocoder", "scale", "cut"),
    [
        (Vocoder.HIFI_GAN, 1.0, True),
        (Vocoder.MRF_HIFI_GAN, 1.0, True),
        (Vocoder.REFINE_GAN, 1.0, False),
        (Vocoder.REFINE_GAN, 0.0, True),
    ],
)
@torch.inference_mode()
def test_only_a_vocoder_that_draws_in_its_layers_stays_whole(
    vocoder: Vocoder, scale: float, cut: bool
) -> None:
    synthesizer = small_synthesizer(vocoder)
    network = CountingVocoder(synthesizer.vocoder)
    latent, source, speaker = vocoder_inputs(synthesizer, 600, True)
    noise = Noise(scale, seeded(1))
    VocoderRenderer.for_cpu()(network, latent, source, speaker, noise, wanted=[[(0, 590)]])
    assert (max(network.frames) < 600) is cut


@pytest.mark.parametrize(
    ("fast", "half", "device", "calls"),
    [
        (True, False, "cpu", 2),
        (True, True, "cpu", 2),
        (False, False, "cpu", 1),
        (True, False, "cuda", 1),
        (False, False, "mps", 1),
    ],
)
@torch.inference_mode()
def test_tiles_are_for_cpus(
    fast: bool, half: bool, device: str, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    synthesizer = small_synthesizer()
    network = CountingVocoder(synthesizer.vocoder)
    dtype = torch.float16 if half else torch.float32
    render = renderer_for(OptimizationConfig(fast_vocoder=fast), torch.device(device), dtype)
    render(network, *vocoder_inputs(synthesizer, 600, True), Noise(0.0))
    assert len(network.frames) == calls
    assert ("changes nothing" in caplog.text) is (fast and device == "cuda")


@pytest.mark.parametrize(
    ("has", "options", "device", "dtype", "expected"),
    [
        (True, {}, "cpu", torch.bfloat16, True),
        (False, {}, "cpu", torch.bfloat16, False),
        (True, {}, "cpu", torch.float16, False),
        (True, {}, "cpu", torch.float32, False),
        (True, {}, "cuda", torch.bfloat16, False),
        (True, {"fast_vocoder": False}, "cpu", torch.bfloat16, False),
        (True, {"compile_model": True}, "cpu", torch.bfloat16, False),
    ],
)
def test_products_are_rounded_where_all_is_there_for_it(
    has: bool,
    options: dict[str, bool],
    device: str,
    dtype: torch.dtype,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiled_code, "has_bfloat16", lambda: has)
    config = OptimizationConfig(**{"fast_vocoder": True, "use_bf16": True} | options)
    assert rounds_products(config, torch.device(device), dtype) is expected


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no products of bfloat16")
@pytest.mark.parametrize("vocoder", [Vocoder.HIFI_GAN, Vocoder.MRF_HIFI_GAN])
@torch.inference_mode()
def test_rounded_products_sound_like_exact_ones(vocoder: Vocoder) -> None:
    synthesizer = small_synthesizer(vocoder, config=small_config(initial_channels=256))
    inputs = vocoder_inputs(synthesizer, 300, True)
    exact, rounded = (
        VocoderRenderer.for_cpu(rounded=rounded)(synthesizer.vocoder, *inputs, Noise(0.0)).numpy()
        for rounded in (False, True)
    )
    assert 30 < snr_db(exact, rounded) < 100
