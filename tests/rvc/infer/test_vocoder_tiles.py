"""The vocoder in tiles: the same sound as over the whole, whatever the voice, length and randomness."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from small_synthesizer import random_inputs, small_synthesizer
from ultimate_rvc.choices import Vocoder
from ultimate_rvc.rvc.infer.optimization.vocoder_tiles import render_for_device, render_in_tiles
from ultimate_rvc.rvc.networks import hifigan
from ultimate_rvc.rvc.networks.noise import Noise
from ultimate_rvc.rvc.networks.vocoder import VocoderNetwork, render_whole

KINDS = [(vocoder, True) for vocoder in Vocoder] + [(Vocoder.HIFI_GAN, False)]
each_kind = pytest.mark.parametrize(("vocoder", "has_f0"), KINDS, ids=lambda value: str(value))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class CountingVocoder:
    """A vocoder that keeps the number of frames of each call."""

    def __init__(self, network: VocoderNetwork) -> None:
        self.network = network
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
    tiled = render_in_tiles(*arguments, tile_frames=tile_frames)
    torch.testing.assert_close(tiled, render_whole(*arguments), rtol=0, atol=1e-12)


@each_kind
@torch.inference_mode()
def test_a_padded_batch_in_tiles_is_the_batch_over_the_whole(vocoder: Vocoder, has_f0: bool) -> None:
    synthesizer = small_synthesizer(vocoder, has_f0=has_f0).double()
    latent, source, speaker = vocoder_inputs(synthesizer, 50, has_f0, batch=2)
    valid = (50, 3)

    def arguments() -> tuple[Any, ...]:  # a vocoder clears the tails of its inputs in place
        own_source = None if source is None else source.clone()
        return synthesizer.vocoder, latent.clone(), own_source, speaker, Noise(0.0), valid

    tiled = render_in_tiles(*arguments(), tile_frames=20)
    torch.testing.assert_close(tiled, render_whole(*arguments()), rtol=0, atol=1e-12)


@torch.inference_mode()
def test_a_seeded_render_in_tiles_draws_the_same_random_numbers() -> None:
    synthesizer = small_synthesizer().double()
    inputs = random_inputs(1, 100)
    whole = synthesizer.infer(*inputs, generator=seeded(3))

    def tiles_of_30(*arguments: Any) -> Tensor:
        return render_in_tiles(*arguments, tile_frames=30)

    tiled = synthesizer.infer(*inputs, generator=seeded(3), render=tiles_of_30)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-6)  # infer returns float32
    assert not torch.equal(whole, synthesizer.infer(*inputs, generator=seeded(4)))


@torch.inference_mode()
def test_no_call_is_wider_than_a_tile_and_its_context_and_all_are_alike() -> None:
    synthesizer = small_synthesizer()
    network = CountingVocoder(synthesizer.vocoder)
    latent, source, speaker = vocoder_inputs(synthesizer, 601, True)
    render_in_tiles(network, latent, source, speaker, Noise(0.0), tile_frames=200)
    context = network.context_frames
    assert network.frames == [151 + context, 151 + 2 * context, 151 + 2 * context, 148 + context]


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
def test_only_a_vocoder_that_draws_in_its_layers_stays_whole_on_the_cpu(
    vocoder: Vocoder, scale: float, cut: bool
) -> None:
    synthesizer = small_synthesizer(vocoder)
    network = CountingVocoder(synthesizer.vocoder)
    latent, source, speaker = vocoder_inputs(synthesizer, 600, True)
    render_for_device(network, latent, source, speaker, Noise(scale, seeded(1)))
    assert (len(network.frames) > 1) is cut


def test_on_a_gpu_the_window_stays_one_call() -> None:
    network = CountingVocoder(small_synthesizer().vocoder)
    network.network = lambda latent, *arguments: latent  # type: ignore[assignment]
    elsewhere = torch.empty(1, 4, 2000, device="meta")
    render_for_device(network, elsewhere, None, elsewhere, Noise(1.0))
    assert network.frames == [2000]


@pytest.mark.parametrize("vocoder", [Vocoder.HIFI_GAN, Vocoder.MRF_HIFI_GAN])
@torch.inference_mode()
def test_residual_blocks_in_pieces_give_the_whole(vocoder: Vocoder, monkeypatch: pytest.MonkeyPatch) -> None:
    synthesizer = small_synthesizer(vocoder).double()
    latent, source, speaker = vocoder_inputs(synthesizer, 40, True, batch=2)
    arguments = (synthesizer.vocoder, latent, source, speaker, Noise(0.0))
    for valid in (None, (40, 17)):
        monkeypatch.setattr(hifigan, "PIECE_VALUES", 2**40)
        whole = render_whole(*arguments, valid)
        monkeypatch.setattr(hifigan, "PIECE_VALUES", 1)  # the least: twice the reach of a block
        torch.testing.assert_close(render_whole(*arguments, valid), whole, rtol=0, atol=1e-12)
