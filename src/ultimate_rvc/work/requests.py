"""What a user can ask for: a dataclass for each kind of work, whose values are checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.choices import AudioFormat, Device
from ultimate_rvc.covers.settings import (
    LOSSLESS_FORMATS,
    MAX_GAIN_DB,
    MAX_REST_SEMITONES,
    MIN_GAIN_DB,
    CoverSettings,
)
from ultimate_rvc.covers.source_checks import is_url
from ultimate_rvc.errors import (
    SettingError,
    check_setting,
)
from ultimate_rvc.plain import absolute, from_plain
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.train.data_settings import ExtractSettings, PreprocessSettings
from ultimate_rvc.rvc.train.settings import TrainingSettings
from ultimate_rvc.separation.models import AUTO_MODEL, SeparationTask
from ultimate_rvc.switches import OptimizationConfig
from ultimate_rvc.voices.names import checked_name

DEMO_SOURCE = "demo"


@dataclass(frozen=True, kw_only=True)
class CoverRequest:
    """A song cover."""

    source: str
    """A file, a folder of stems, a link, or ``demo``."""
    voice: str
    """A voice's name or file."""
    cover: CoverSettings = field(default_factory=CoverSettings)
    optimization: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``OptimizationConfig``, the device included, that differ from what is in force."""

    def __post_init__(self) -> None:
        check_optimization(self.optimization)
        if not self.source.strip():
            raise SettingError("source is empty; give a file, a folder of stems, a link, or 'demo'.")
        if self.source != DEMO_SOURCE and not is_url(self.source):
            object.__setattr__(self, "source", str(absolute(self.source)))


@dataclass(frozen=True, kw_only=True)
class ConvertRequest:
    """Files of speech or singing through one voice."""

    sources: tuple[Path, ...]
    voice: str
    index_path: Path | None = None
    """Index to use instead of the voice's own."""
    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    output_format: AudioFormat = AudioFormat.WAV
    bitrate_kbps: int | None = None
    """Of a lossy format; None: the usual one."""
    optimization: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_optimization(self.optimization)
        if not self.sources:
            raise SettingError("sources is empty; name at least one file.")
        check_bitrate(self.output_format, self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class SeparateRequest:
    """A file into its parts."""

    source: Path
    task: SeparationTask = SeparationTask.VOCALS
    model: str = AUTO_MODEL
    output_format: AudioFormat = AudioFormat.WAV
    bitrate_kbps: int | None = None
    optimization: Mapping[str, Any] = field(default_factory=dict)
    """Only its device matters here."""

    def __post_init__(self) -> None:
        check_optimization(self.optimization)
        check_bitrate(self.output_format, self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class EffectsRequest:
    """High-pass, compressor and reverb on a file of vocals; the reverb's tail is kept."""

    source: Path
    effects: EffectSettings = field(default_factory=EffectSettings)
    output_format: AudioFormat = AudioFormat.WAV
    bitrate_kbps: int | None = None

    def __post_init__(self) -> None:
        check_bitrate(self.output_format, self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class MixRequest:
    """Files into one as long as the longest, each shifted and louder or softer."""

    sources: tuple[Path, ...]
    gains_db: tuple[float, ...] = ()
    """Of each source in order, -60 to 20 dB; empty: 0 for all."""
    semitones: tuple[int, ...] = ()
    """Shift of each source in order, -24 to 24; empty: none."""
    output_name: str | None = None
    """Without folder and suffix; None: that of the first source."""
    output_sr: int = CoverSettings.output_sr
    output_format: AudioFormat = AudioFormat.MP3
    bitrate_kbps: int | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise SettingError("sources is empty; name at least one file.")
        for name in ("gains_db", "semitones"):
            if (count := len(getattr(self, name))) not in (0, len(self.sources)):
                raise SettingError(
                    f"{name} has {count} values for {len(self.sources)} sources; give one for each."
                )
        for gain_db in self.gains_db:
            check_setting("gains_db", gain_db, MIN_GAIN_DB, MAX_GAIN_DB)
        for shift in self.semitones:
            check_setting("semitones", shift, -MAX_REST_SEMITONES, MAX_REST_SEMITONES)
        # Knows the ranges of the output.
        CoverSettings(
            output_sr=self.output_sr, output_format=self.output_format, bitrate_kbps=self.bitrate_kbps
        )


@dataclass(frozen=True, kw_only=True)
class ImportVoiceRequest:
    """A voice into the library."""

    source: str
    """A link, a published voice's name, or a ``.pth``, ``.safetensors`` or ``.zip`` file, or a folder."""
    name: str | None = None
    """In the library; None: the file's."""
    index: str | None = None
    """Its index: a file, or with a link also a link; None: what lies beside the voice."""
    sha256: str | None = None
    """What a link must lead to, 64 hexadecimal digits."""
    allow_local: bool = True
    """Whether links may lead to this machine and its network; False for a page that others reach."""

    def __post_init__(self) -> None:
        for name in ("source", "index"):
            given = getattr(self, name)
            if given is not None and not is_link(given) and given not in published_voices():
                object.__setattr__(self, name, str(absolute(given)))
        if self.sha256 is not None and not is_link(self.source):
            raise SettingError("sha256 has no meaning for a file that is here; leave it out.")


@dataclass(frozen=True, kw_only=True)
class DownloadRequest:
    """Model files, by the names of ``urvc doctor``."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise SettingError("names is empty; name at least one model.")


@dataclass(frozen=True, kw_only=True)
class TrainParts:
    """How any voice is trained: what a settings file says of it."""

    preprocessing: PreprocessSettings = field(default_factory=PreprocessSettings)
    extraction: ExtractSettings = field(default_factory=ExtractSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)


@dataclass(frozen=True, kw_only=True)
class TrainRequest(TrainParts):
    """A voice from recordings; a training of this name that was stopped is gone on with."""

    name: str
    """Of the voice, its dataset and its training."""
    recordings: tuple[Path, ...] = ()
    """Files and folders to add to its dataset; none: train on what it holds."""
    device: str = Device.AUTO.value
    """Where to prepare and train."""

    def __post_init__(self) -> None:
        OptimizationConfig(device=self.device)  # knows the choices
        object.__setattr__(self, "name", checked_name(self.name))


def check_optimization(given: Mapping[str, Any]) -> None:
    """Refuse a name that is no switch and a value that is no choice; None stands for not given."""
    chosen = {name: value for name, value in given.items() if value is not None}
    from_plain(OptimizationConfig, chosen, "optimization")


def check_bitrate(audio_format: AudioFormat, bitrate_kbps: int | None) -> None:
    if bitrate_kbps is None:
        return
    if audio_format in LOSSLESS_FORMATS:
        raise SettingError(
            f"bitrate_kbps has no meaning for {audio_format}, which keeps everything; leave it out."
        )
    CoverSettings(output_format=audio_format, bitrate_kbps=bitrate_kbps)  # knows the ranges


def published_voices() -> list[str]:
    from ultimate_rvc.assets.registry import AssetKind, assets

    return [known.name for known in assets().values() if known.kind is AssetKind.VOICE]
