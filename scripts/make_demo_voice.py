"""Make the demo voice: an untrained voice that lets a fresh clone run the whole path.

    python scripts/make_demo_voice.py src/ultimate_rvc/assets/data/voices/demo/demo.safetensors

Its weights are random, so it sings the melody without words and says nothing about how a trained voice
sounds. It exists because no trained voice may be shipped yet.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from ultimate_rvc.choices import EmbedderModel, Vocoder, VoiceVersion
from ultimate_rvc.rvc.checkpoint import Dialect, Speaker, VoiceFile, VoiceMetadata, write_safetensors_voice
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer

SEED = 2026
CONFIG = SynthesizerConfig(
    spec_channels=513,
    segment_size=32,
    inter_channels=32,
    hidden_channels=32,
    filter_channels=64,
    heads=2,
    layers=2,
    kernel_size=3,
    dropout=0.0,
    resblock_kernel_sizes=(3, 7, 11),
    resblock_dilations=((1, 3, 5),) * 3,
    upsample_rates=(10, 8, 2, 2),
    upsample_initial_channel=64,
    upsample_kernel_sizes=(20, 16, 4, 4),
    speakers=1,
    speaker_channels=16,
    sample_rate=32_000,
    phone_dim=384,
)


def demo_voice() -> VoiceFile:
    synthesizer = Synthesizer(CONFIG, has_f0=True, vocoder=Vocoder.HIFI_GAN)
    random = torch.Generator().manual_seed(SEED)
    state = {
        name: _weights(name, torch.randn(tensor.shape, generator=random))
        for name, tensor in sorted(synthesizer.state_dict().items())
    }
    metadata = VoiceMetadata(
        config=CONFIG,
        version=VoiceVersion.V2,
        has_f0=True,
        vocoder=Vocoder.HIFI_GAN,
        speakers=(Speaker(0, "demo"),),
        dialect=Dialect.SAFETENSORS,
        embedder=EmbedderModel.STARTER,
        embedder_recorded=True,
        info="untrained demo voice",
        model_name="demo",
    )
    return VoiceFile(metadata, state)


def _weights(name: str, random: Tensor) -> Tensor:
    """About unit gain per layer; the source is loud, so that the melody is what is heard.

    Kernels are smooth bumps: white ones would whistle at the rates of the upsampling.
    """
    if "m_source" in name:
        return 8 * torch.ones_like(random) if name.endswith("weight") else torch.zeros_like(random)
    if name.endswith("gamma"):
        return torch.ones_like(random)
    if random.dim() < 2:
        return torch.zeros_like(random)
    if random.dim() == 3 and random.shape[-1] > 1:
        random = random[..., :1] * torch.hann_window(random.shape[-1] + 2, periodic=False)[1:-1]
    if "conv_post" in name:
        random = random - random.mean(dim=-1, keepdim=True)  # no constant in the output
    gain = 0.3 if "convs1" in name or "convs2" in name else 1.0
    return gain * random / random[0].square().sum().sqrt()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target
    target.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors_voice(target, demo_voice())
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
