"""How a voice is trained: every setting of the loop, under the names that users know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ultimate_rvc.choices import Device, Vocoder
from ultimate_rvc.errors import SettingError, check_setting

MAX_EPOCHS = 100_000
MAX_STEPS = 100_000_000
MAX_BATCH_SIZE = 1024
MAX_SECONDS = 1e6
MAX_SEED = 2**31 - 1


class Precision(StrEnum):
    FP32 = "fp32"
    FP16 = "fp16"  # with the loss scaled, as small gradients are zero in half precision; needs a GPU
    BF16 = "bf16"


class NetworkChoice(StrEnum):
    """``auto``, or one of ``sizes.NetworkSize``, which this module is too light to import."""

    AUTO = "auto"  # that of the pretrained generator, if there is one; else full
    FULL = "full"
    SMALL = "small"  # for training on a processor
    TINY = "tiny"  # for tests


class LearnFrom(StrEnum):
    """What the pieces that the losses judge are rendered from."""

    POSTERIOR = (
        "posterior"  # the recording's own latent, which the features' must come to resemble: as RVC does
    )
    PRIOR = "prior"  # the features' latent, as a conversion does


class IndexAlgorithm(StrEnum):
    AUTO = "Auto"  # KMeans where the index would hold more than 200000 frames
    FAISS = "Faiss"  # every frame
    KMEANS = "KMeans"  # 10000 centres


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What training does; a value outside its range raises :class:`SettingError`.

    Figures that are not explained are RVC's.
    """

    num_epochs: int = 500
    """Times that the whole dataset is gone through."""
    max_steps: int | None = None
    """Stop after so many steps, wherever in an epoch that is."""
    batch_size: int = 8
    """Pieces per step and process."""
    learning_rate: float = 1e-4
    learning_rate_decay: float = 0.999875
    """Factor after each epoch."""
    seed: int = 1234
    """Of the first weights, the order of the pieces and all noise."""

    vocoder: Vocoder = Vocoder.HIFI_GAN
    network_size: NetworkChoice = NetworkChoice.AUTO
    pretrained_generator: Path | None = None
    """A published ``f0G*.pth``, or any voice's ``.pth`` or ``.safetensors``, to start from."""
    pretrained_discriminator: Path | None = None
    """A published ``f0D*.pth`` to start from."""
    discriminator_width: float | None = None
    """Channels of the discriminators, as a share of RVC's; left out, what suits the size of the network."""
    warm_up_steps: int = 0
    """First steps without discriminators: the spectrum alone is a good and cheap teacher at the beginning."""
    learn_from: LearnFrom = LearnFrom.POSTERIOR
    """``prior`` speaks after far fewer steps, with less variety in the end; nothing then trains ``enc_q``."""
    average_weights: bool = False
    """Save the moving average of the weights as the voice: it wavers less from step to step."""
    average_decay: float = 0.999

    detect_overtraining: bool = False
    overtraining_threshold: int = 50
    """Epochs without a better generator, or twice as many without a better discriminator, that end it."""

    save_interval: int = 10
    """Epochs between checkpoints; the last epoch is always saved."""
    save_steps: int | None = None
    """Also save every so many steps."""
    save_seconds: float | None = None
    """Also save every so many seconds."""
    save_all_checkpoints: bool = False
    """Keep every checkpoint instead of the latest."""
    save_all_weights: bool = False
    """Keep the voice of every saved epoch instead of the best and the latest."""
    clear_saved_data: bool = False
    """Forget an earlier training of this voice instead of going on with it."""
    log_steps: int = 20
    """Steps between entries of the losses in TensorBoard."""

    device: str = Device.AUTO
    """``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``; under ``accelerate launch`` its choice holds."""
    precision: Precision = Precision.FP32
    preload_dataset: bool = False
    """Hold the whole dataset in memory instead of leaving it to the system's file cache."""
    reduce_memory_usage: bool = False
    """Compute activations twice instead of keeping them: slower, for small memories."""
    max_gradient_norm: float = 1000.0
    """Longer gradients are shortened to this, in the generator and in the discriminators."""

    index_algorithm: IndexAlgorithm = IndexAlgorithm.AUTO

    def __post_init__(self) -> None:
        for option, low, high in (
            ("num_epochs", 1, MAX_EPOCHS),
            ("batch_size", 1, MAX_BATCH_SIZE),
            ("learning_rate", 1e-9, 1),
            ("learning_rate_decay", 0.1, 1),
            ("seed", 0, MAX_SEED),
            ("warm_up_steps", 0, MAX_STEPS),
            ("average_decay", 0, 0.999999),
            ("overtraining_threshold", 1, MAX_EPOCHS),
            ("save_interval", 1, MAX_EPOCHS),
            ("log_steps", 1, MAX_STEPS),
            ("max_gradient_norm", 1e-6, 1e12),
        ):
            check_setting(option, getattr(self, option), low, high)
        for option, low, high in (
            ("max_steps", 1, MAX_STEPS),
            ("save_steps", 1, MAX_STEPS),
            ("discriminator_width", 0.01, 4),
            ("save_seconds", 0, MAX_SECONDS),
        ):
            if getattr(self, option) is not None:
                check_setting(option, getattr(self, option), low, high)
        for option, choices in (
            ("vocoder", Vocoder),
            ("network_size", NetworkChoice),
            ("learn_from", LearnFrom),
            ("precision", Precision),
            ("index_algorithm", IndexAlgorithm),
        ):
            value = getattr(self, option)
            if value not in set(choices):
                listed = ", ".join(choices)
                raise SettingError(f"--{option.replace('_', '-')} is {value!r}, but must be one of {listed}.")
            object.__setattr__(self, option, choices(value))  # a plain word of the same meaning will do
