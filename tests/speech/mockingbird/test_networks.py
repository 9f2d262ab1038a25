"""Synthesizer and vocoders give what MockingBird's own give, alone and in batches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mockingbird_material import DATA, MEL, SYMBOLS, VOICE, numbered, reference
from mockingbird_models import (
    FRAMES_A_STEP,
    SMALL_HIFI_GAN,
    SMALL_SYNTHESIZER,
    SMALL_WAVE_RNN,
    seeded,
    settings_of,
    write_model,
)
from ultimate_rvc.speech.mockingbird import decoder
from ultimate_rvc.speech.mockingbird.checkpoint import Kind
from ultimate_rvc.speech.mockingbird.hifigan import PlainHiFiGAN
from ultimate_rvc.speech.mockingbird.loading import find_files, load_checkpoint_vocoder, load_synthesizer
from ultimate_rvc.speech.mockingbird.sizes import hifigan_sizes, synthesizer_sizes, wavernn_sizes
from ultimate_rvc.speech.mockingbird.synthesizer import LEAST_FRAMES, Synthesizer, SynthesizerSizes
from ultimate_rvc.speech.mockingbird.wavernn import WaveRNN

SPEAKER = torch.from_numpy(VOICE)
TEXTS = [SYMBOLS, [*SYMBOLS[:3], 1], [5, 60, *SYMBOLS, *SYMBOLS]]


def no_dropout(self: object, lengths: list[int], width: int, like: Tensor) -> Tensor:
    return torch.ones(len(lengths), max(lengths), width).to(like)


def small_synthesizer() -> Synthesizer:
    network = numbered(lambda: Synthesizer(SMALL_SYNTHESIZER))
    network.decoder.r.fill_(FRAMES_A_STEP)
    return network


def test_an_official_checkpoint_loads_strictly_by_name_and_shape(tmp_path: Path) -> None:
    wanted = {
        name: tuple(shape) for name, shape in json.loads((DATA / "synthesizer.json").read_text()).items()
    }
    files = find_files(write_model(tmp_path, encoder=False))
    state = files.checkpoints[Kind.SYNTHESIZER][1]
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == wanted
    assert len(wanted) == 220
    synthesizer, scales = load_synthesizer(files)
    vocoder = load_checkpoint_vocoder(files)
    assert not scales
    assert synthesizer.sizes == SynthesizerSizes()
    assert sum(weight.numel() for weight in synthesizer.parameters()) == 32_868_737
    for name, tensor in synthesizer.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert isinstance(vocoder, PlainHiFiGAN)
    assert vocoder.sizes.hop_length == 200


def test_mels_are_those_of_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder.Dropout, "draw", no_dropout)
    network = numbered(lambda: Synthesizer(SMALL_SYNTHESIZER))
    (mel,) = network.read([SYMBOLS], SPEAKER, 0, frames=60)
    np.testing.assert_allclose(mel, reference("reference")["mel"], atol=2e-5)


def test_a_batch_reads_as_each_text_alone() -> None:
    network = small_synthesizer()
    together = network.read(TEXTS, SPEAKER, 3)
    alone = [network.read([text], SPEAKER, 3)[0] for text in TEXTS]
    assert len({mel.shape[1] for mel in alone}) > 1
    for one, same in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, same, atol=1e-4)


def test_a_seed_gives_the_same_mel_and_another_seed_another() -> None:
    network = small_synthesizer()
    first, again, other = (network.read([SYMBOLS], SPEAKER, seed, frames=40)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.05


def test_it_ends_where_the_network_says_so_and_not_before() -> None:
    network = small_synthesizer()
    network.stop_threshold.fill_(-1e9)  # nothing is trimmed
    network.decoder.stop_proj.bias.fill_(1e3)
    assert network.read([SYMBOLS], SPEAKER, 0)[0].shape[1] == LEAST_FRAMES + 2 * FRAMES_A_STEP
    network.decoder.stop_proj.bias.fill_(-1e3)  # one that never ends is ended
    assert network.read([SYMBOLS], SPEAKER, 0)[0].shape[1] == 80 + 12 * len(SYMBOLS)


def test_silence_at_the_end_is_cut_and_a_frame_is_left() -> None:
    network = small_synthesizer()
    mel = torch.full((10, 6), -4.0)
    assert network._trimmed(mel).shape == (10, 1)
    mel[3, 2] = 0.5
    assert network._trimmed(mel).shape == (10, 3)


@pytest.mark.parametrize("style", [SMALL_SYNTHESIZER.style, None])
def test_sizes_are_found_in_the_shapes(style: object) -> None:
    sizes = replace(SMALL_SYNTHESIZER, style=style, symbols=70)
    assert synthesizer_sizes(Synthesizer(sizes).state_dict()) == sizes
    wave = replace(SMALL_WAVE_RNN, sample_rate=22_050)
    assert wavernn_sizes(WaveRNN(wave).state_dict(), {"sample_rate": 22_050, "hop_size": 200}) == wave
    kind_two = replace(SMALL_HIFI_GAN, block_kind="2", sample_rate=24_000, rates=(4, 5), kernels=(9, 11))
    state = PlainHiFiGAN(kind_two).state_dict()
    assert hifigan_sizes(state, settings_of(kind_two)) == kind_two


def test_hifi_gan_is_that_of_the_original() -> None:
    vocoder = numbered(lambda: PlainHiFiGAN(SMALL_HIFI_GAN), 1.0)
    with torch.inference_mode():
        waveform = vocoder(torch.from_numpy(MEL.copy())[None])[0, 0]
    expected = reference("reference")["gan"]
    np.testing.assert_allclose(waveform, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["1", "2"])
@pytest.mark.parametrize("sample_rate", [16_000, 24_000])
def test_hifi_gan_renders_a_batch_as_each_alone(kind: str, sample_rate: int) -> None:
    kernels = (10, 10, 8, 4) if sample_rate == 16_000 else (11, 11, 9, 5)
    sizes = replace(SMALL_HIFI_GAN, block_kind=kind, sample_rate=sample_rate, kernels=kernels)
    vocoder = seeded(lambda: PlainHiFiGAN(sizes), 1)
    mels = [torch.randn(10, frames, generator=torch.Generator().manual_seed(frames)) for frames in (7, 12)]
    batch = torch.stack([torch.cat([mels[0], torch.full((10, 5), 3.0)], 1), mels[1]])
    with torch.inference_mode():
        together = vocoder(batch, (7, 12))
        for item, mel in enumerate(mels):
            alone = vocoder(mel[None].clone())[0, 0]
            assert len(alone) == mel.shape[1] * sizes.hop_length
            np.testing.assert_allclose(together[item, 0, : len(alone)], alone, atol=1e-5)


def test_wave_rnn_is_that_of_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    def most_likely(self: WaveRNN, logits: Tensor, generator: object) -> Tensor:
        return 2.0 * logits.argmax(1) / (logits.shape[1] - 1.0) - 1.0

    monkeypatch.setattr(WaveRNN, "_drawn", most_likely)
    network = numbered(lambda: WaveRNN(SMALL_WAVE_RNN))
    waveform = network.render(torch.from_numpy(MEL), 0)
    np.testing.assert_allclose(waveform, reference("reference")["rnn"].clip(-1, 1), atol=1e-4)


@pytest.mark.parametrize("classes", [512, 30])
def test_wave_rnn_makes_pieces_side_by_side_and_the_same_with_a_seed(classes: int) -> None:
    network = seeded(lambda: WaveRNN(replace(SMALL_WAVE_RNN, classes=classes)), 2)
    mel = torch.from_numpy(MEL)
    first, again, other = (network.render(mel, seed, piece=400, overlap=100) for seed in (1, 1, 2))
    assert len(first) == MEL.shape[1] * 200
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.abs().max() <= 1
    assert first.std() > 0
