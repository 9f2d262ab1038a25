"""The networks of one training, built to the data and the settings, with the weights to start from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ultimate_rvc.choices import EmbedderModel, Vocoder, VoiceVersion
from ultimate_rvc.errors import SettingError, VoiceFileError
from ultimate_rvc.paths import packaged_assets_dir, packaged_voice
from ultimate_rvc.rvc.content.whisper_encoder import DIM
from ultimate_rvc.rvc.networks.config import SynthesizerConfig
from ultimate_rvc.rvc.networks.discriminators import Discriminators, build_discriminator
from ultimate_rvc.rvc.networks.training_synthesizer import TrainingSynthesizer
from ultimate_rvc.rvc.train.defaults import BASE, BASE_SAMPLE_RATE
from ultimate_rvc.rvc.train.settings import LearnFrom, NetworkChoice, TrainingSettings
from ultimate_rvc.rvc.train.sizes import SpectrogramSizes, named_config, size_here, spectrogram_sizes
from ultimate_rvc.rvc.train.tables import DataDescription
from ultimate_rvc.rvc.voice_file.onnx_voice import is_onnx_file
from ultimate_rvc.rvc.voice_file.read import read_voice_file
from ultimate_rvc.rvc.voice_file.torch_file import open_torch_file

FULL_INITIAL_CHANNELS = 512  # of a stock vocoder; the discriminators go with it


@dataclass(frozen=True)
class Networks:
    """Generator and discriminators on the CPU, and the sizes that go with them."""

    generator: TrainingSynthesizer
    discriminators: Discriminators
    sizes: SpectrogramSizes
    from_prior: bool
    """Whether pieces are rendered from the features' latent."""
    notes: tuple[str, ...]
    """What is worth telling about where the weights come from, one sentence each."""

    @property
    def config(self) -> SynthesizerConfig:
        return self.generator.config


def build_networks(description: DataDescription, settings: TrainingSettings) -> Networks:
    """Build the networks; the first weights depend on ``settings.seed`` alone.

    Raises
    ------
    SettingError
        There are no networks of this kind, or the settings contradict each other.
    VoiceFileError
        A pretrained file cannot be read, or does not fit.
    """
    version = VoiceVersion(description.version)
    config = config_of(description, settings)
    first = first_weights(description, settings)
    from_prior = settings.learn_from is LearnFrom.PRIOR
    if settings.learn_from is LearnFrom.AUTO:
        from_prior = first is not None and first.resolve().is_relative_to(packaged_assets_dir().resolve())
    # The caller's own random numbers are not our business.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        generator = TrainingSynthesizer(config, has_f0=description.has_f0, vocoder=settings.vocoder)
        if from_prior:
            generator.begin_with_a_narrow_prior()
        width = discriminator_width(config, settings)
        discriminators = build_discriminator(version, settings.vocoder, width)
    notes = []
    if first is not None:
        notes.append(_load_generator(generator, first, config.sample_rate))
    if settings.pretrained_discriminator is not None:
        notes.append(_load_discriminators(discriminators, settings.pretrained_discriminator))
    generator.gradient_checkpointing = settings.reduce_memory_usage
    sizes = spectrogram_sizes(version, description.sample_rate)
    return Networks(generator, discriminators, sizes, from_prior, tuple(notes))


def first_weights(description: DataDescription, settings: TrainingSettings) -> Path | None:
    """The chosen generator; without one a voice in the package, if this training makes networks of its kind."""
    if settings.pretrained_generator is not None or not settings.packaged_base:
        return settings.pretrained_generator
    fits = (
        (description.embedder, description.phone_dim) == (EmbedderModel.STARTER, DIM)
        and description.sample_rate == BASE_SAMPLE_RATE
        and description.version == VoiceVersion.V2
        and description.has_f0
        and settings.vocoder is Vocoder.HIFI_GAN
        and size_here(settings) is NetworkChoice.SMALL
    )
    return packaged_voice(BASE) if fits else None


def discriminator_width(config: SynthesizerConfig, settings: TrainingSettings) -> float:
    """Channels of the discriminators, as a share of RVC's."""
    suiting = min(config.upsample_initial_channel / FULL_INITIAL_CHANNELS, 1.0)
    return settings.discriminator_width or suiting


def config_of(description: DataDescription, settings: TrainingSettings) -> SynthesizerConfig:
    """The generator's sizes; errors as :func:`build_networks`."""
    speakers, size = len(description.speakers), size_here(settings)
    path = settings.pretrained_generator
    if size is not NetworkChoice.AUTO or path is None:
        return named_config(
            size,
            VoiceVersion(description.version),
            description.sample_rate,
            phone_dim=description.phone_dim,
            speakers=speakers,
            vocoder=settings.vocoder,
        )
    pretrained = read_voice_file(path, sample_rate=description.sample_rate).metadata
    config = pretrained.config
    for what, theirs, ours in (
        ("works at a sample rate of", config.sample_rate, description.sample_rate),
        ("reads features of width", config.phone_dim, description.phone_dim),
        ("has the vocoder", str(pretrained.vocoder), str(settings.vocoder)),
        ("says of f0", pretrained.has_f0, description.has_f0),
    ):
        if theirs != ours:
            raise SettingError(
                f"{path} cannot be started from: it {what} {theirs}, but this training has {ours}; choose "
                "another pretrained generator, or preprocess and extract to suit it."
            )
    return replace(config, speakers=speakers)


def _load_generator(generator: TrainingSynthesizer, path: Path, sample_rate: int) -> str:
    state = _training_state(path)
    if state is None:
        state = read_voice_file(path, sample_rate=sample_rate).state
    try:
        fresh = generator.load_state(state)
    except VoiceFileError as error:
        raise VoiceFileError(f"{path}: {error}") from error
    return f"The generator starts from {path.name}" + (f", but for {', '.join(fresh)}." if fresh else ".")


def _load_discriminators(discriminators: Discriminators, path: Path) -> str:
    state = _training_state(path)
    if state is None:
        raise VoiceFileError(
            f"{path} holds no discriminators; choose the D file that goes with the generator."
        )
    try:
        discriminators.load_state(state)
    except VoiceFileError as error:
        raise VoiceFileError(f"{path}: {error}") from error
    return f"The discriminators start from {path.name}."


def _training_state(path: Path) -> dict[str, Tensor] | None:
    """The ``model`` of a ``G`` or ``D`` file; None for any other kind of file."""
    if path.suffix.lower() == ".safetensors" or is_onnx_file(path):
        return None
    content: Any = open_torch_file(path).content
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        return None
    return {str(key): tensor for key, tensor in model.items() if isinstance(tensor, Tensor)}
