"""Training checkpoints become voices: every size is found without a config."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ultimate_rvc.choices import Vocoder
from ultimate_rvc.errors import VoiceFileError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.voice_file.describe import Dialect
from ultimate_rvc.rvc.voice_file.read import load_voice_model, read_voice_file
from ultimate_rvc.rvc.voice_file.write import write_rvc_voice
from voice_factory import (
    VoiceSpec,
    all_specs,
    training_checkpoint,
    training_config_json,
    voice_state,
    write_discriminator,
)


def saved(path: Path, spec: VoiceSpec, *, posterior: bool = True) -> Path:
    content = training_checkpoint(spec)
    if not posterior:
        content["model"] = voice_state(spec)
    torch.save(content, path)
    return path


def expected_config(spec: VoiceSpec) -> SynthesizerConfig:
    return spec.config


@pytest.mark.parametrize(
    "spec", all_specs(), ids=lambda spec: f"{spec.version}-{spec.sample_rate}-{spec.has_f0}-{spec.vocoder}"
)
def test_every_architecture_is_found(tmp_path: Path, spec: VoiceSpec) -> None:
    path = saved(tmp_path / f"G_{spec.sample_rate // 1000}k.pth", spec)
    voice = read_voice_file(path)
    assert voice.metadata.config == expected_config(spec)
    assert (voice.metadata.version, voice.metadata.has_f0, voice.metadata.vocoder) == (
        spec.version,
        spec.has_f0,
        spec.vocoder,
    )
    assert (voice.metadata.dialect, voice.metadata.epoch) == (Dialect.TRAINING, 7)
    assert set(voice.state) == set(voice_state(spec))


def test_hifigan_needs_no_hint_and_refinegan_does(tmp_path: Path) -> None:
    """The kernels of HiFi-GAN tell its rates; RefineGAN has none, and several rates look alike."""
    for spec in all_specs():
        path = saved(tmp_path / "G_2333333.pth", spec)
        if spec.vocoder is Vocoder.REFINE_GAN:
            with pytest.raises(VoiceFileError, match=r"no sample rate, and its weights fit \d+ Hz or"):
                read_voice_file(path)
        else:
            assert read_voice_file(path).metadata.config == expected_config(spec)


@pytest.mark.parametrize("sample_rate", [32000, 48000])
def test_v1_without_f0_and_posterior_encoder_fits_two_rates(tmp_path: Path, sample_rate: int) -> None:
    spec = VoiceSpec(version="v1", sample_rate=sample_rate, has_f0=False)
    path = saved(tmp_path / "G_7.pth", spec, posterior=False)
    with pytest.raises(VoiceFileError, match="fit 32000 Hz or 48000 Hz") as caught:
        read_voice_file(path)
    assert path.name in str(caught.value)
    assert read_voice_file(path, sample_rate=sample_rate).metadata.config == expected_config(spec)
    folder = tmp_path / f"singer_{sample_rate // 1000}k"
    folder.mkdir()
    assert read_voice_file(path.rename(folder / path.name)).metadata.sample_rate == sample_rate


def test_the_config_beside_a_checkpoint_decides(tmp_path: Path) -> None:
    spec = VoiceSpec(vocoder=Vocoder.REFINE_GAN, sample_rate=48000)
    path = saved(tmp_path / "G_7.pth", spec)
    (tmp_path / "config.json").write_text(training_config_json(spec))
    assert read_voice_file(path).metadata.config == expected_config(spec)


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"data": 3}', '{"data": {}, "model": {}}', "[" * 100_000])
def test_another_config_beside_a_checkpoint_is_ignored(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path / "G_7.pth", VoiceSpec())
    (tmp_path / "config.json").write_text(text)
    assert read_voice_file(path).metadata.config == expected_config(VoiceSpec())


def test_a_rate_in_the_name_does_not_override_the_weights(tmp_path: Path) -> None:
    path = saved(tmp_path / "from_48k.pth", VoiceSpec(sample_rate=40000))
    assert read_voice_file(path).metadata.sample_rate == 40000


def test_unusual_rates_are_read_off_the_source_convolutions(tmp_path: Path) -> None:
    """44.1 kHz: 441 = 9 * 7 * 7 samples per frame, with kernels of no stock model."""
    from ultimate_rvc.rvc.networks.synthesizer import Synthesizer

    config = replace(
        VoiceSpec().config, upsample_rates=(9, 7, 7), upsample_kernel_sizes=(18, 14, 14), sample_rate=44100
    )
    state = Synthesizer(config, has_f0=True, vocoder=Vocoder.HIFI_GAN).state_dict()
    torch.save({"model": state}, tmp_path / "G_44k.pth")
    assert read_voice_file(tmp_path / "G_44k.pth").metadata.config == config
    with pytest.raises(VoiceFileError, match="cannot be a voice of 48000 Hz"):
        read_voice_file(tmp_path / "G_44k.pth", sample_rate=48000)


def test_a_checkpoint_made_a_voice_sounds_the_same(tmp_path: Path) -> None:
    spec = VoiceSpec(seed=3)
    path = saved(tmp_path / "G_7.pth", spec)
    write_rvc_voice(tmp_path / "voice.pth", read_voice_file(path))
    assert "enc_q" not in "".join(torch.load(tmp_path / "voice.pth", weights_only=True)["weight"])
    random = torch.Generator().manual_seed(1)
    inputs = (
        torch.randn(1, 20, 768, generator=random),
        torch.full((1, 20), 100),
        torch.full((1, 20), 220.0),
        torch.zeros(1, dtype=torch.long),
    )
    one, other = (
        load_voice_model(file).synthesizer.infer(*inputs, noise_scale=0, source_noise_scale=0)
        for file in (path, tmp_path / "voice.pth")
    )
    # Half precision of weights of about unit gain through some sixty layers.
    torch.testing.assert_close(one, other, rtol=0, atol=0.05)
    assert one.abs().max() > 0.1


def test_names_of_parallel_training_are_understood(tmp_path: Path) -> None:
    content = training_checkpoint(VoiceSpec())
    content["model"] = {f"module.{key}": tensor for key, tensor in content["model"].items()}
    torch.save(content, tmp_path / "G_7.pth")
    assert read_voice_file(tmp_path / "G_7.pth").metadata.config == expected_config(VoiceSpec())


def test_bare_safetensors_weights_are_a_voice_too(tmp_path: Path) -> None:
    spec = VoiceSpec(sample_rate=32000)
    (tmp_path / "bare.safetensors").write_bytes(safetensors.torch.save(voice_state(spec)))
    metadata = load_voice_model(tmp_path / "bare.safetensors").metadata
    assert metadata.config == expected_config(spec)


def test_a_discriminator_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = write_discriminator(tmp_path / "D_2333333.pth")
    with pytest.raises(VoiceFileError, match=r"D_2333333.pth is the discriminator .* take the G_"):
        read_voice_file(path)


@pytest.mark.parametrize(
    "key",
    [
        "enc_p.proj.weight",
        "enc_p.encoder.attn_layers.0.emb_rel_k",
        "enc_p.encoder.ffn_layers.0.conv_1.weight",
        "dec.conv_pre.weight",
    ],
)
def test_a_checkpoint_without_a_layer_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    content = training_checkpoint(VoiceSpec())
    del content["model"][key]
    torch.save(content, tmp_path / "G_7.pth")
    with pytest.raises(VoiceFileError, match=key):
        read_voice_file(tmp_path / "G_7.pth")
