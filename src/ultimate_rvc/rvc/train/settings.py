"""How a voice is trained: every setting of the loop, under the names that users know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ultimate_rvc.choices import Device, Vocoder
from ultimate_rvc.settings import check, setting

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

    AUTO = "auto"  # prior where the training starts from a voice that ships, which learnt so; else posterior
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

    num_epochs: int = setting(500, "Times to go through the dataset.", 1, MAX_EPOCHS, label="Epochs")
    max_steps: int | None = setting(
        None, "Stop after so many steps, wherever in an epoch that is.", 1, MAX_STEPS, label="Most steps"
    )
    batch_size: int = setting(8, "Pieces per step and process; more takes more memory.", 1, MAX_BATCH_SIZE)
    learning_rate: float = setting(1e-4, "Learning rate of the first epoch.", 1e-9, 1)
    learning_rate_decay: float = setting(0.999875, "Factor of the learning rate after each epoch.", 0.1, 1)
    seed: int = setting(
        1234, "Seed of the first weights, the order of the pieces and all noise.", 0, MAX_SEED
    )

    vocoder: Vocoder = setting(
        Vocoder.HIFI_GAN, "The last part of the network; HiFi-GAN is what every RVC tool can play."
    )
    network_size: NetworkChoice = setting(
        NetworkChoice.AUTO,
        "auto: that of the pretrained generator, else full on a GPU and small on a processor.",
        hidden=(NetworkChoice.TINY,),
    )
    pretrained_generator: Path | None = setting(
        None, "A published f0G file, or any voice's .pth or .safetensors, to start from."
    )
    packaged_base: bool = setting(
        True,
        "With no pretrained generator: start from starter-anna in the package where it fits (starter encoder, "
        "32 kHz, f0, HiFi-GAN, small network).",
        label="Start from a voice in the package",
    )
    pretrained_discriminator: Path | None = setting(None, "A published f0D file to start from.")
    discriminator_width: float | None = setting(
        None, "Channels of the discriminators as a share of RVC's; left out: what suits the network.", 0.01, 4
    )
    warm_up_steps: int = setting(
        0, "First steps without discriminators: the spectrum alone teaches well and cheaply then.", 0, MAX_STEPS,
        label="Warm-up steps",
    )  # fmt: skip
    learn_from: LearnFrom = setting(
        LearnFrom.AUTO,
        "posterior learns as RVC does; prior speaks after far fewer steps, with less variety in the end; auto: prior "
        "where the training starts from a voice in the package.",
    )
    average_weights: bool = setting(
        False, "Save the moving average of the weights, which wavers less from step to step.",
        label="Average the weights",
    )  # fmt: skip
    average_decay: float = setting(
        0.999, "Decay of the moving average per step; closer to 1 averages over more steps.", 0, 0.999999,
        label="Decay of the average",
    )  # fmt: skip

    detect_overtraining: bool = setting(
        False, "Stop when the losses no longer fall.", label="Stop when it no longer gets better"
    )
    overtraining_threshold: int = setting(
        50, "Epochs without a better generator, or twice as many without a better discriminator, that end it.",
        *(1, MAX_EPOCHS), label="... after so many epochs",
    )  # fmt: skip

    save_interval: int = setting(
        10, "Epochs between checkpoints; the last epoch is always saved.", 1, MAX_EPOCHS,
        label="Save every so many epochs",
    )  # fmt: skip
    save_steps: int | None = setting(
        None, "Also save every so many steps.", 1, MAX_STEPS, label="Save every so many steps"
    )
    save_seconds: float | None = setting(
        None, "Also save every so many seconds.", 0, MAX_SECONDS, label="Save every so many seconds"
    )
    save_all_checkpoints: bool = setting(
        False,
        "Keep every checkpoint instead of the latest; takes much disk space.",
        label="Keep every checkpoint",
    )
    save_all_weights: bool = setting(
        False, "Keep the voice of every saved epoch instead of the best and the latest.",
        label="Keep the voice of every save",
    )  # fmt: skip
    clear_saved_data: bool = setting(
        False,
        "Forget an earlier training of this voice instead of continuing it.",
        label="Start from the beginning",
    )
    log_steps: int = setting(
        20, "Steps between entries in TensorBoard.", 1, MAX_STEPS, label="Log every so many steps"
    )

    # Under ``accelerate launch`` its choice holds.
    device: str = setting(Device.AUTO.value, "Where to compute: auto, cpu, mps, cuda or cuda:N.")
    precision: Precision = setting(
        Precision.FP32, "fp32, fp16 (GPU only) or bf16; the latter two are faster there."
    )
    preload_dataset: bool = setting(
        False, "Hold the whole dataset in memory: faster on slow disks.", label="Hold all in memory"
    )
    reduce_memory_usage: bool = setting(
        False, "Compute activations twice instead of keeping them: slower, for small memories.",
        label="Use less memory",
    )  # fmt: skip
    max_gradient_norm: float = setting(
        1000.0, "Longer gradients are shortened to this.", 1e-6, 1e12, label="Longest gradient"
    )

    index_algorithm: IndexAlgorithm = setting(
        IndexAlgorithm.AUTO, "How the index is made; Auto is small enough for any recording.", label="Index"
    )

    def __post_init__(self) -> None:
        check(self)
