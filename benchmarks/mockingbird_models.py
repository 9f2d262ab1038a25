"""MockingBird models of any size with random weights, as users' checkpoints: to measure and to test with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from ultimate_rvc.rvc.networks.weight_norm import magnitudes
from ultimate_rvc.speech.mockingbird.hifigan import HiFiGANSizes, PlainHiFiGAN
from ultimate_rvc.speech.mockingbird.speaker_encoder import SpeakerEncoder
from ultimate_rvc.speech.mockingbird.synthesizer import StyleSizes, Synthesizer, SynthesizerSizes
from ultimate_rvc.speech.mockingbird.wavernn import WaveRNN, WaveRNNSizes

OFFICIAL_SYNTHESIZER, OFFICIAL_HIFI_GAN = SynthesizerSizes(), HiFiGANSizes()
SMALL_STYLE = StyleSizes(filters=(4, 8), reference=8, query=264, tokens=3, width=16, heads=4)
SMALL_SYNTHESIZER = SynthesizerSizes(
    embedding=16, encoder=12, encoder_kernels=3, encoder_highways=2, decoder=8, lstm=24, mels=10, postnet=16,
    postnet_kernels=4, postnet_highways=2, style=SMALL_STYLE,
)  # fmt: skip
SMALL_HIFI_GAN = HiFiGANSizes(mels=10, channels=32, block_kernels=(3, 5), block_dilations=((1, 3), (1, 2)))
SMALL_WAVE_RNN = WaveRNNSizes(mels=10, compute=8, blocks=2, residual=16, rnn=16, fully_connected=12)
Network = TypeVar("Network", bound=nn.Module)
MEL_SPREAD = 1.5  # of real mels, whose range is [-4, 4]
LIVELY_GAIN, LIVELY_FRAMES = 30, 40
VOCODER_GAIN = 2.5
FRAMES_A_STEP = 2  # of every published synthesizer


def write_model(
    folder: Path,
    synthesizer: SynthesizerSizes = OFFICIAL_SYNTHESIZER,
    vocoder: HiFiGANSizes | WaveRNNSizes = OFFICIAL_HIFI_GAN,
    *,
    seed: int = 0,
    encoder: bool = True,
) -> Path:
    """Write a model as MockingBird's trainings leave it; returns ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    network = seeded(lambda: Synthesizer(synthesizer), seed)
    network.decoder.r.fill_(FRAMES_A_STEP)
    _liven(network)
    torch.save({"model_state": network.state_dict(), "optimizer_state": {}}, folder / "mandarin.pt")
    if isinstance(vocoder, WaveRNNSizes):
        torch.save(
            {"model_state": seeded(lambda: WaveRNN(vocoder), seed).state_dict()}, folder / "wavernn.pt"
        )
    else:
        generator = seeded(lambda: PlainHiFiGAN(vocoder), seed)
        _liven_vocoder(generator)
        torch.save({"generator": weight_normed(generator.state_dict())}, folder / "g_hifigan.pt")
        (folder / "config_16k_.json").write_text(json.dumps(settings_of(vocoder)), encoding="utf-8")
    if encoder:
        state = {**seeded(SpeakerEncoder, seed).state_dict(), "similarity_weight": torch.tensor([10.0])}
        torch.save({"step": 1, "model_state": state}, folder / "pretrained.pt")
    return folder


def _liven(network: Synthesizer) -> None:
    """Let random weights make mels that move as those of speech do: what 8 bits cost depends on it."""
    network.decoder.mel_proj.weight.mul_(LIVELY_GAIN)
    mel = network.read([[5, 6, 7, 1]], torch.full((network.sizes.speaker,), 0.06), 0, frames=LIVELY_FRAMES)[0]
    network.post_proj.weight.mul_(MEL_SPREAD / mel.std())


def _liven_vocoder(network: PlainHiFiGAN) -> None:
    """Let what comes out follow what goes in: torch's random weights damp it layer by layer to a constant."""
    for name, weight in network.named_parameters():
        if weight.dim() == 1:
            weight.zero_()
        elif not name.startswith("resblocks"):
            weight.mul_(VOCODER_GAIN)


def seeded(build: Callable[[], Network], seed: int) -> Network:
    """What ``build`` makes with random weights of a seed, ready to be used; torch's own seed stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
        for name, buffer in network.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return network.eval().requires_grad_(False)


def weight_normed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` as HiFi-GAN's training has it: every convolution as a magnitude and a direction."""
    normed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(".weight"):
            normed[f"{name}_g"], normed[f"{name}_v"] = magnitudes(tensor), tensor
        else:
            normed[name] = tensor
    return normed


def settings_of(sizes: HiFiGANSizes) -> dict[str, object]:
    """The JSON beside a checkpoint of HiFi-GAN."""
    return {
        "resblock": sizes.block_kind, "seed": 1234, "upsample_rates": list(sizes.rates),
        "upsample_kernel_sizes": list(sizes.kernels), "upsample_initial_channel": sizes.channels,
        "resblock_kernel_sizes": list(sizes.block_kernels),
        "resblock_dilation_sizes": [list(dilations) for dilations in sizes.block_dilations],
        "num_mels": sizes.mels, "hop_size": sizes.hop_length, "sampling_rate": sizes.sample_rate,
    }  # fmt: skip
