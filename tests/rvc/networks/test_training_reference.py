"""The training's networks, judges and losses against an independent implementation.

The data come from ``scripts/oracles/training_reference.py``, which says how they are made; weights and inputs
come from ``training_recipe``.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from training_recipe import (
    ARCHITECTURES,
    FRAME_STEP,
    LENGTHS,
    MAP_STEP,
    PHONE_DIM,
    SEGMENT_FRAMES,
    WAVEFORM_STEP,
    drawn_batch,
    judged_waveforms,
    seeded_state,
    small_config,
)
from ultimate_rvc.choices import Vocoder, VoiceVersion
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.discriminators import build_discriminator, frozen
from ultimate_rvc.rvc.networks.training_state import paired_state
from ultimate_rvc.rvc.networks.training_synthesizer import TrainingSynthesizer
from ultimate_rvc.rvc.train.batches import Batch
from ultimate_rvc.rvc.train.losses import discriminator_loss, feature_loss, generator_loss, kl_loss
from ultimate_rvc.rvc.train.mel import MelSpectrogram, spectrogram
from ultimate_rvc.rvc.train.sizes import spectrogram_sizes, stock_config

DATA = Path(__file__).parents[2] / "data" / "training"
TOLERANCE = 1e-4
LATENTS = ("z_p", "mean_p", "log_deviation_p", "mean_q", "log_deviation_q")


class FixedPlaces:
    """Draws under which each item's segment starts at a given frame."""

    def __init__(self, starts: NDArray[np.int64]) -> None:
        self.starts = torch.from_numpy(starts)

    def uniform(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        assert shape == self.starts.shape
        return (self.starts + 0.5) / (torch.tensor(LENGTHS) - SEGMENT_FRAMES + 1)

    def normal(self, shape: tuple[int, ...], time_dim: int | None) -> Tensor:
        raise AssertionError("no noise is wanted")


def load(network: Any) -> None:
    """Take the recipe's weights, which are drawn under the names of published files."""
    shapes = {key: tuple(tensor.shape) for key, tensor in paired_state(network.state_dict()).items()}
    state = {key: torch.from_numpy(value) for key, value in seeded_state(shapes).items()}
    assert not network.load_state(state)


def batch_of(name: str, has_f0: bool) -> Batch:
    drawn = {key: torch.from_numpy(np.asarray(value)) for key, value in drawn_batch(name).items()}
    hop_length = ARCHITECTURES[name][1] // 100
    return Batch(
        features=drawn["features"].float(),
        pitch=drawn["pitch"] if has_f0 else None,
        f0_hz=drawn["f0_hz"] if has_f0 else None,
        spectrogram=drawn["spectrogram"].float(),
        waveform=torch.zeros(len(LENGTHS), 1, max(LENGTHS) * hop_length),
        lengths=drawn["lengths"],
        speaker=drawn["speaker"],
    )


def references(group: str, file: str) -> Mapping[str, NDArray[Any]]:
    with np.load(DATA / file) as data:
        return {key.split("/")[1]: data[key] for key in data.files if key.startswith(group + "/")}


@pytest.mark.parametrize(
    ("name", "has_f0"),
    # Without f0 the layers of all are the same but for their sizes: one of each version stands for the others.
    [*((name, True) for name in ARCHITECTURES), ("v1_40k", False), ("v2_48k", False)],
)
def test_a_step_without_noise_equals_the_independent_implementation(name: str, has_f0: bool) -> None:
    expected = references(f"{name}_{'f0' if has_f0 else 'no_f0'}", "synthesizers.npz")
    config = SynthesizerConfig.from_list(small_config(name), phone_dim=PHONE_DIM[ARCHITECTURES[name][0]])
    network = TrainingSynthesizer(config, has_f0=has_f0, vocoder=Vocoder.HIFI_GAN)
    load(network)
    output = network(
        batch_of(name, has_f0),
        segment_frames=SEGMENT_FRAMES,
        generator=FixedPlaces(expected["starts"]),
        noise_scale=0.0,
    )
    assert output.slice_starts.tolist() == expected["starts"].tolist()
    waveform = output.waveform.detach().numpy()[..., ::WAVEFORM_STEP]
    np.testing.assert_allclose(waveform, expected["waveform"], rtol=0, atol=TOLERANCE)
    for latent in LATENTS:
        ours = getattr(output, latent).detach().numpy()[..., ::FRAME_STEP]
        np.testing.assert_allclose(ours, expected[latent], rtol=0, atol=TOLERANCE, err_msg=latent)
    divergence = kl_loss(
        output.z_p, output.log_deviation_q, output.mean_p, output.log_deviation_p, output.mask
    )
    assert float(divergence.detach()) == pytest.approx(float(expected["divergence"]), rel=TOLERANCE)
    (output.waveform.square().mean() + divergence).backward()
    norms = {key: weight.grad.norm() for key, weight in network.named_parameters()}
    ours = np.array([norm for _, norm in sorted(paired_state(norms).items())])
    # Norms of gradients through a hundred layers: processors round them apart by some parts of a thousand.
    np.testing.assert_allclose(ours, expected["gradient_norms"], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_judges_and_losses_equal_the_independent_implementation(version: str) -> None:
    expected = references(version, "judges.npz")
    judges = build_discriminator(VoiceVersion(version), Vocoder.HIFI_GAN)
    load(judges)
    real, fake = map(torch.from_numpy, judged_waveforms())
    fake.requires_grad_()
    with frozen(judges):
        output = judges(real, fake)
    maps = [values for member in output.fake_maps for values in member]
    ours = {
        "real_scores": torch.cat([scores.flatten() for scores in output.real_scores]),
        "fake_scores": torch.cat([scores.flatten() for scores in output.fake_scores]),
        "fake_maps": torch.cat([values.flatten()[::MAP_STEP] for values in maps]),
    }
    for key, values in ours.items():
        np.testing.assert_allclose(values.detach(), expected[key], rtol=0, atol=TOLERANCE, err_msg=key)
    losses = {
        "discriminator_loss": discriminator_loss(output.real_scores, output.fake_scores),
        "generator_loss": generator_loss(output.fake_scores),
        "feature_loss": feature_loss(output.real_maps, output.fake_maps),
    }
    for key, loss in losses.items():
        assert float(loss.detach()) == pytest.approx(float(expected[key]), rel=TOLERANCE), key
    (losses["generator_loss"] + losses["feature_loss"]).backward()
    assert fake.grad is not None
    gradient = fake.grad.numpy()[..., ::WAVEFORM_STEP]
    np.testing.assert_allclose(gradient, expected["fake_gradient"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("sample_rate", [32000, 40000, 48000])
def test_spectrograms_equal_the_independent_implementation(sample_rate: int) -> None:
    sizes = spectrogram_sizes(VoiceVersion.V2, sample_rate)
    mel = MelSpectrogram(
        sample_rate, n_fft=sizes.n_fft, hop_length=sizes.hop_length, mel_bands=sizes.mel_bands
    )
    real = torch.from_numpy(judged_waveforms()[0])
    with np.load(DATA / "judges.npz") as data:
        name = f"{sample_rate // 1000}k"
        magnitudes = spectrogram(real, sizes.n_fft, sizes.hop_length)[:1, ::20]
        np.testing.assert_allclose(magnitudes, data[f"{name}_spectrogram"], rtol=TOLERANCE, atol=TOLERANCE)
        np.testing.assert_allclose(mel(real)[:1], data[f"{name}_mel"], rtol=0, atol=TOLERANCE)


def shapes_checksum(state: Mapping[str, Tensor]) -> int:
    shapes = sorted((key, tuple(tensor.shape)) for key, tensor in paired_state(state).items())
    return zlib.crc32(repr(shapes).encode())


@pytest.mark.parametrize("has_f0", [True, False], ids=["f0", "no_f0"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_are_named_and_sized_as_in_published_generators(name: str, has_f0: bool) -> None:
    version, sample_rate, *_ = ARCHITECTURES[name]
    config = stock_config(
        VoiceVersion(version),
        sample_rate,
        phone_dim=PHONE_DIM[version],
        speakers=109,
        vocoder=Vocoder.HIFI_GAN,
    )
    with torch.device("meta"):
        network = TrainingSynthesizer(config, has_f0=has_f0, vocoder=Vocoder.HIFI_GAN)
    expected = json.loads((DATA / "names.json").read_text())
    assert shapes_checksum(network.state_dict()) == expected[f"{name}_{'f0' if has_f0 else 'no_f0'}"]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_layers_are_named_and_sized_as_in_published_discriminators(version: str) -> None:
    with torch.device("meta"):
        judges = build_discriminator(VoiceVersion(version), Vocoder.HIFI_GAN)
    expected = json.loads((DATA / "names.json").read_text())
    assert shapes_checksum(judges.state_dict()) == expected[f"{version}_judges"]
