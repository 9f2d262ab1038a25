"""Sizes of the networks that are trained: RVC's own, and smaller ones of the same kind."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ultimate_rvc.choices import Vocoder, VoiceVersion
from ultimate_rvc.device import resolve_device
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.train.settings import NetworkChoice, TrainingSettings
from ultimate_rvc.rvc.voice_file.training_checkpoint import SEGMENT_FRAMES, STOCK_RATES


@dataclass(frozen=True)
class SpectrogramSizes:
    """Of the spectrograms that a voice is trained on; ``segment_frames`` are rendered of each piece."""

    n_fft: int
    hop_length: int
    mel_bands: int
    segment_frames: int


@dataclass(frozen=True)
class _Stock:
    rates: tuple[int, ...]
    mel_bands: int
    segment_samples: int


_V2 = {
    24000: _Stock((10, 6, 2, 2), 80, 8640),
    32000: _Stock((10, 8, 2, 2), 80, 12800),
    40000: _Stock((10, 10, 2, 2), 125, 12800),
    48000: _Stock((12, 10, 2, 2), 128, 17280),
}
_V1 = {
    32000: _Stock((10, 4, 2, 2, 2), 80, 12800),
    40000: _V2[40000],
    48000: _Stock((10, 6, 2, 2, 2), 128, 11520),
}
_STOCK = {VoiceVersion.V1: _V1, VoiceVersion.V2: _V2}
_KERNELS = {(row.sample_rate, row.rates): row for row in STOCK_RATES}

RESBLOCK_KERNELS = (3, 7, 11)
RESBLOCK_DILATIONS = ((1, 3, 5),) * 3


def stock_config(
    version: VoiceVersion, sample_rate: int, *, phone_dim: int, speakers: int, vocoder: Vocoder
) -> SynthesizerConfig:
    """Return the sizes RVC trains a voice of this version and sample rate (in Hz) with.

    Raises
    ------
    SettingError
        When RVC has no such network.
    """
    stock = _stock(version, sample_rate)
    row = _KERNELS[sample_rate, stock.rates]
    if vocoder is Vocoder.MRF_HIFI_GAN and version is VoiceVersion.V1:
        raise SettingError(
            f"{vocoder} exists for v2 only; choose version v2 or the vocoder {Vocoder.HIFI_GAN}."
        )
    return SynthesizerConfig(
        spec_channels=row.spec_channels,
        segment_size=SEGMENT_FRAMES,
        inter_channels=192,
        hidden_channels=192,
        filter_channels=768,
        heads=2,
        layers=6,
        kernel_size=3,
        dropout=0,
        resblock_kernel_sizes=RESBLOCK_KERNELS,
        resblock_dilations=RESBLOCK_DILATIONS,
        upsample_rates=stock.rates,
        upsample_initial_channel=512,
        upsample_kernel_sizes=row.kernels,
        speakers=speakers,
        speaker_channels=256,
        sample_rate=sample_rate,
        phone_dim=phone_dim,
    )


def size_here(settings: TrainingSettings) -> NetworkChoice:
    """What ``network_size`` means here; ``auto`` is left only where a pretrained generator decides.

    A full network takes weeks on a processor, so there it is a small one.
    """
    if settings.network_size is not NetworkChoice.AUTO or settings.pretrained_generator is not None:
        return settings.network_size
    is_slow = resolve_device(settings.device).type == "cpu"
    return NetworkChoice.SMALL if is_slow else NetworkChoice.FULL


def named_config(
    size: NetworkChoice,
    version: VoiceVersion,
    sample_rate: int,
    *,
    phone_dim: int,
    speakers: int,
    vocoder: Vocoder,
) -> SynthesizerConfig:
    """Return the sizes of a full (RVC's), small or tiny network; all keep the rates of the stock one.

    Raises
    ------
    SettingError
        When RVC has no network of this version and sample rate.
    """
    stock = stock_config(version, sample_rate, phone_dim=phone_dim, speakers=speakers, vocoder=vocoder)
    if size is NetworkChoice.SMALL:
        return replace(
            stock,
            inter_channels=96,
            hidden_channels=96,
            filter_channels=384,
            layers=4,
            # Half of RVC's width with a third of its layers: as good a vocoder for the time as any that was
            # tried on a processor, whose convolutions of 8 or 16 channels take as long as of 32.
            upsample_initial_channel=256,
            resblock_kernel_sizes=(3, 7),
            resblock_dilations=((1, 3),) * 2,
            speaker_channels=64,
        )
    if size is NetworkChoice.TINY:
        return replace(
            stock,
            inter_channels=16,
            hidden_channels=16,
            filter_channels=32,
            layers=2,
            # RefineGAN halves its channels once more than there are stages.
            upsample_initial_channel=max(32, 2 ** (len(stock.upsample_rates) + 1)),
            speaker_channels=8,
        )
    return stock


def spectrogram_sizes(version: VoiceVersion, sample_rate: int) -> SpectrogramSizes:
    """Return the sizes of the spectrograms for a voice of this version and sample rate (in Hz).

    Raises
    ------
    SettingError
        When RVC has no such network.
    """
    stock = _stock(version, sample_rate)
    row = _KERNELS[sample_rate, stock.rates]
    hop_length = sample_rate // 100
    return SpectrogramSizes(
        n_fft=2 * (row.spec_channels - 1),
        hop_length=hop_length,
        mel_bands=stock.mel_bands,
        segment_frames=stock.segment_samples // hop_length,
    )


def _stock(version: VoiceVersion, sample_rate: int) -> _Stock:
    rates = _STOCK[version]
    if sample_rate not in rates:
        known = ", ".join(str(rate) for rate in rates)
        raise SettingError(f"There is no {version} network for {sample_rate} Hz; choose one of {known} Hz.")
    return rates[sample_rate]
