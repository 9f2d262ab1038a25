"""How recordings become training data: the settings of both steps, under the names that users know."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ultimate_rvc.choices import Device, EmbedderModel, F0Method, VoiceVersion
from ultimate_rvc.rvc.infer.settings import check_custom_embedder
from ultimate_rvc.settings import check, setting

SAMPLE_RATES = (32_000, 40_000, 48_000)
MAX_MUTES = 10
MAX_PERTURBED_COPIES = 8
MAX_CORES = 1024


class NormalizationMode(StrEnum):
    NONE = "none"
    PRE = "pre"  # each file as a whole
    POST = "post"  # each piece


class SplitMethod(StrEnum):
    SKIP = "Skip"  # whole files, which someone has cut before
    SIMPLE = "Simple"  # equal pieces, wherever the cuts fall
    AUTOMATIC = "Automatic"  # at silences, then equal pieces


def available_cores() -> int:
    """Processor cores of this machine."""
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class PreprocessSettings:
    """How recordings are filtered, levelled and cut; the defaults are those of Ultimate RVC.

    A value outside its range raises :class:`SettingError`.
    """

    sample_rate: int = setting(
        40_000, "Sample rate of the voice in Hz.", choices=SAMPLE_RATES, label="Sample rate (Hz)"
    )
    normalization_mode: NormalizationMode = setting(
        NormalizationMode.POST,
        "Bring pieces (post) or files (pre) nearer to one level, or not.",
        label="Levelling",
    )
    filter_audio: bool = setting(True, "Remove what lies below 48 Hz.", label="Remove rumble")
    clean_audio: bool = setting(False, "Reduce steady noise in the recordings.", label="Reduce noise")
    clean_strength: float = setting(
        0.7, "Share of the steady noise to remove.", 0, 1, step=0.01, label="Noise reduction strength"
    )
    split_method: SplitMethod = setting(
        SplitMethod.AUTOMATIC,
        "Skip: files are pieces already; Simple: equal pieces; Automatic: at silences first.",
        label="Cutting",
    )
    chunk_len: float = setting(
        3.0, "Length of a piece.", 0.5, 5, step=0.1, unit="s", label="Piece length (s)"
    )
    overlap_len: float = setting(
        0.3, "What a piece shares with the next.", 0, 0.4, step=0.01, unit="s", label="Overlap (s)"
    )
    cpu_cores: int = setting(
        available_cores, "Files prepared at once, each of which is held in memory.", 1, MAX_CORES,
        label="Processor cores",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """What is computed from the pieces; a value outside its range raises :class:`SettingError`."""

    f0_method: F0Method = setting(
        F0Method.AUTO,
        "How pitch is found; auto: rmvpe when its file is here, else fcpe.",
        label="Pitch detection",
    )
    embedder_model: EmbedderModel = setting(
        EmbedderModel.CONTENTVEC,
        "Content encoder; contentvec makes voices for every RVC tool, starter only for this program.",
        label="Content encoder",
    )
    custom_embedder_model: str | None = setting(
        None,
        "Folder, or name below models/embedders, of the encoder for the embedder model custom.",
        path=True,
    )
    version: VoiceVersion = setting(
        VoiceVersion.V2, "v2 features are 768 wide, v1 256; tools expect v2 today."
    )
    has_f0: bool = setting(
        True, "Train a voice that follows pitch, as singing needs.", label="Follow the pitch"
    )
    include_mutes: int = setting(
        2, "Silent pieces for each speaker, which teach the voice to be silent.", 0, MAX_MUTES, step=1,
        label="Silent pieces",
    )  # fmt: skip
    perturbed_copies: int = setting(
        0, "Versions of each piece by made-up speakers, from which the voice learns to understand others.",
        *(0, MAX_PERTURBED_COPIES), step=1,
    )  # fmt: skip
    versions: Path | None = setting(
        None,
        "Folder of folders, each with every recording said by somebody else at the same time, under the same name.",
        label="Versions by others",
    )
    cpu_cores: int = setting(
        available_cores, "Threads of what runs on the processor.", 1, MAX_CORES, label="Processor cores"
    )
    device: str = setting(Device.AUTO.value, "Where to compute: auto, cpu, mps, cuda or cuda:N.")

    def __post_init__(self) -> None:
        check(self)
        check_custom_embedder(self.embedder_model, self.custom_embedder_model)
