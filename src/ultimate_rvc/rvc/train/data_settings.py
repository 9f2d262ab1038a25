"""How recordings become training data: the settings of both steps, under the names that users know."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ultimate_rvc.choices import Device, EmbedderModel, F0Method, VoiceVersion
from ultimate_rvc.errors import SettingError, check_setting

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

    sample_rate: int = 40_000
    """Of the voice, in Hz: 32000, 40000 or 48000."""
    normalization_mode: NormalizationMode = NormalizationMode.POST
    """Bring the level of each piece (``post``) or of each file (``pre``) nearer to the others', or do not."""
    filter_audio: bool = True
    """Take out what lies below 48 Hz."""
    clean_audio: bool = False
    """Reduce steady noise."""
    clean_strength: float = 0.7
    """Share of the noise to remove, 0 to 1."""
    split_method: SplitMethod = SplitMethod.AUTOMATIC
    chunk_len: float = 3.0
    """Length of a piece in seconds, 0.5 to 5."""
    overlap_len: float = 0.3
    """What a piece shares with the next, in seconds, 0 to 0.4."""
    cpu_cores: int = field(default_factory=available_cores)
    """Files worked on at once, each of which is held in memory."""

    def __post_init__(self) -> None:
        if self.sample_rate not in SAMPLE_RATES:
            raise SettingError(
                f"--sample-rate is {self.sample_rate}, but must be one of {_listed(SAMPLE_RATES)}."
            )
        _check_choice("normalization_mode", self.normalization_mode, NormalizationMode)
        _check_choice("split_method", self.split_method, SplitMethod)
        check_setting("clean_strength", self.clean_strength, 0, 1)
        check_setting("chunk_len", self.chunk_len, 0.5, 5)
        check_setting("overlap_len", self.overlap_len, 0, 0.4)
        check_setting("cpu_cores", self.cpu_cores, 1, MAX_CORES)


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """What is computed from the pieces; a value outside its range raises :class:`SettingError`."""

    f0_method: F0Method = F0Method.AUTO
    """``auto``: rmvpe when its file is there, else fcpe. Not used for a voice without f0."""
    embedder_model: EmbedderModel = EmbedderModel.CONTENTVEC
    custom_embedder_model: str | None = None
    """Folder, or name below ``models/embedders``, of the encoder when ``embedder_model`` is custom."""
    version: VoiceVersion = VoiceVersion.V2
    has_f0: bool = True
    """Whether the voice is told the pitch, as singing needs."""
    include_mutes: int = 2
    """Silent pieces added for each speaker, 0 to 10, so that the voice learns to be silent."""
    perturbed_copies: int = 0
    """Versions of each piece by other speakers, made by signal processing, 0 to 8, whose content features are
    learnt from as well: the voice then understands others better than its own speaker alone teaches it to."""
    versions: Path | None = None
    """Folder of folders, each with a version of every recording, under the same name, in which somebody else
    says the same at the same time. Their content features are learnt from as well."""
    cpu_cores: int = field(default_factory=available_cores)
    """Threads of what runs on the processor."""
    device: str = Device.AUTO
    """Where networks run: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``."""

    def __post_init__(self) -> None:
        _check_choice("f0_method", self.f0_method, F0Method)
        _check_choice("embedder_model", self.embedder_model, EmbedderModel)
        _check_choice("version", self.version, VoiceVersion)
        check_setting("include_mutes", self.include_mutes, 0, MAX_MUTES)
        check_setting("perturbed_copies", self.perturbed_copies, 0, MAX_PERTURBED_COPIES)
        check_setting("cpu_cores", self.cpu_cores, 1, MAX_CORES)
        is_custom = self.embedder_model == EmbedderModel.CUSTOM
        if self.custom_embedder_model and not is_custom:
            raise SettingError("--custom-embedder-model needs --embedder-model custom.")
        if is_custom and not self.custom_embedder_model:
            raise SettingError("--embedder-model custom needs --custom-embedder-model FOLDER.")


def _check_choice(option: str, value: str, choices: type[StrEnum]) -> None:
    if value not in set(choices):
        raise SettingError(
            f"--{option.replace('_', '-')} is {value!r}, but must be one of {_listed(tuple(choices))}."
        )


def _listed(choices: tuple[object, ...]) -> str:
    return ", ".join(map(str, choices))
