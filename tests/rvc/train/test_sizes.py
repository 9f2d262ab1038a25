"""The table of RVC's networks, and the smaller ones of the same kind."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from ultimate_rvc.choices import Vocoder, VoiceVersion
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.networks.training_synthesizer import TrainingSynthesizer
from ultimate_rvc.rvc.train.settings import NetworkChoice, TrainingSettings
from ultimate_rvc.rvc.train.sizes import named_config, size_here, spectrogram_sizes, stock_config

V1, V2 = VoiceVersion.V1, VoiceVersion.V2
# version, sample rate, rates, kernels, n_fft, hop, mel bands, samples of a segment
TABLE = (
    (V1, 32000, (10, 4, 2, 2, 2), (16, 16, 4, 4, 4), 1024, 320, 80, 12800),
    (V1, 40000, (10, 10, 2, 2), (16, 16, 4, 4), 2048, 400, 125, 12800),
    (V1, 48000, (10, 6, 2, 2, 2), (16, 16, 4, 4, 4), 2048, 480, 128, 11520),
    (V2, 24000, (10, 6, 2, 2), (20, 12, 4, 4), 1024, 240, 80, 8640),
    (V2, 32000, (10, 8, 2, 2), (20, 16, 4, 4), 1024, 320, 80, 12800),
    (V2, 40000, (10, 10, 2, 2), (16, 16, 4, 4), 2048, 400, 125, 12800),
    (V2, 48000, (12, 10, 2, 2), (24, 20, 4, 4), 2048, 480, 128, 17280),
)
SIZES = (NetworkChoice.FULL, NetworkChoice.SMALL, NetworkChoice.TINY)
BUILT = [
    (version, sample_rate, vocoder)
    for version, sample_rate, *_ in TABLE
    for vocoder in Vocoder
    if (version, vocoder) != (V1, Vocoder.MRF_HIFI_GAN)
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_table_of_stock_networks(row: tuple[VoiceVersion, int, *tuple[object, ...]]) -> None:
    version, sample_rate, rates, kernels, n_fft, hop_length, bands, segment = row
    config = stock_config(version, sample_rate, phone_dim=768, speakers=109, vocoder=Vocoder.HIFI_GAN)
    sizes = spectrogram_sizes(version, sample_rate)
    assert (config.upsample_rates, config.upsample_kernel_sizes) == (rates, kernels)
    assert (sizes.n_fft, sizes.hop_length, sizes.mel_bands) == (n_fft, hop_length, bands)
    assert sizes.segment_frames * sizes.hop_length == segment
    assert config.spec_channels == sizes.n_fft // 2 + 1
    assert config.hop_length == math.prod(config.upsample_rates) == sizes.hop_length
    assert config.to_list()[1:10] == [32, 192, 192, 768, 2, 6, 3, 0, "1"]
    assert config.to_list()[15:] == [109, 256, sample_rate]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("version", "sample_rate", "vocoder"), BUILT)
def test_every_network_can_be_built(
    version: VoiceVersion, sample_rate: int, vocoder: Vocoder, size: NetworkChoice
) -> None:
    config = named_config(size, version, sample_rate, phone_dim=384, speakers=2, vocoder=vocoder)
    with torch.device("meta"):
        network = TrainingSynthesizer(config, has_f0=True, vocoder=vocoder)
    assert config.hop_length == sample_rate // 100
    assert config.phone_dim == network.enc_p.emb_phone.in_features == 384
    assert config.speakers == 2


def test_networks_become_smaller() -> None:
    def weights(size: NetworkChoice) -> int:
        config = named_config(size, V2, 40000, phone_dim=768, speakers=1, vocoder=Vocoder.HIFI_GAN)
        with torch.device("meta"):
            network = TrainingSynthesizer(config, has_f0=True, vocoder=Vocoder.HIFI_GAN)
        return sum(weight.numel() for weight in network.parameters())

    assert weights(NetworkChoice.FULL) > 5 * weights(NetworkChoice.SMALL) > 50 * weights(NetworkChoice.TINY)


def test_auto_is_a_small_network_on_a_processor_and_the_full_one_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert size_here(TrainingSettings(device="cpu")) is NetworkChoice.SMALL
    assert size_here(TrainingSettings(device="cpu", network_size=NetworkChoice.FULL)) is NetworkChoice.FULL
    decides = TrainingSettings(device="cpu", pretrained_generator=Path("f0G40k.pth"))
    assert size_here(decides) is NetworkChoice.AUTO
    monkeypatch.setattr("ultimate_rvc.rvc.train.sizes.resolve_device", lambda device: torch.device("cuda"))
    assert size_here(TrainingSettings()) is NetworkChoice.FULL


@pytest.mark.parametrize(("version", "sample_rate"), [(V1, 24000), (V2, 44100), (V2, 16000)])
def test_rates_that_rvc_has_no_network_for_are_refused(version: VoiceVersion, sample_rate: int) -> None:
    with pytest.raises(SettingError, match=f"no {version} network for {sample_rate} Hz; choose one of"):
        spectrogram_sizes(version, sample_rate)
    with pytest.raises(SettingError, match="choose one of"):
        stock_config(version, sample_rate, phone_dim=768, speakers=1, vocoder=Vocoder.HIFI_GAN)


def test_mrf_hifi_gan_is_refused_for_v1() -> None:
    with pytest.raises(SettingError, match="exists for v2 only"):
        stock_config(V1, 40000, phone_dim=256, speakers=1, vocoder=Vocoder.MRF_HIFI_GAN)
