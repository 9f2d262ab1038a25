"""What a cover sounds like and where it goes: one dataclass for every door."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.choices import AudioFormat, Device, StepSwitch
from ultimate_rvc.errors import SettingError, check_setting
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import OptimizationConfig

AUTO_MODEL = "auto"
OUTPUT_RATES = (16000, 44100, 48000, 96000, 192000)
MAX_RATES = {AudioFormat.MP3: 48000, AudioFormat.M4A: 96000, AudioFormat.AAC: 96000}
LOSSLESS_FORMATS = (AudioFormat.WAV, AudioFormat.FLAC)
MIN_KBPS, MIN_OGG_KBPS, MAX_KBPS = 32, 64, 320
MP3_LOW_RATE, MP3_LOW_RATE_KBPS = 24000, 160  # up to this rate mp3 is "MPEG-2", which ends at 160
MIN_GAIN_DB, MAX_GAIN_DB = -60.0, 20.0  # -60 dB is silence in a mix; the page offers -20 to 20
MAX_REST_SEMITONES = 24  # beyond two octaves nothing of an accompaniment is left to recognise


def check_choice(option: str, value: str, choices: type[StrEnum]) -> None:
    """Raise :class:`SettingError` naming ``--option`` unless ``value`` is one of ``choices``."""
    if value not in set(choices):
        raise SettingError(
            f"--{option.replace('_', '-')} is {value}, but must be one of {', '.join(choices)}."
        )


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """How a song is fetched."""

    cookiefile: Path | None = None
    """Cookies in Netscape format, for videos that need a sign-in."""
    max_minutes: float = 60.0
    """Longest song taken, 0.1 to 600 minutes: a wrong link should not cost hours."""
    network_timeout_seconds: float = 20.0
    """How long a server may stay silent, 0.1 to 600 seconds."""

    def __post_init__(self) -> None:
        check_setting("max_minutes", self.max_minutes, 0.1, 600)
        check_setting("network_timeout_seconds", self.network_timeout_seconds, 0.1, 600)


@dataclass(frozen=True, kw_only=True)
class StemSettings:
    """How a song is taken apart; models by the names of ``separation.SEPARATION_MODELS``."""

    vocals_model: str = AUTO_MODEL
    """Parts vocals from instruments."""
    split_backing: StepSwitch = StepSwitch.AUTO
    """Whether backing vocals are parted from the lead; auto: when a model for it is at hand."""
    backing_model: str = AUTO_MODEL
    """Parts the lead from backing vocals."""
    remove_reverb: StepSwitch = StepSwitch.AUTO
    """Whether the lead is dried before conversion; auto: when a model for it is at hand."""
    reverb_model: str = AUTO_MODEL
    """Removes the reverb."""

    def __post_init__(self) -> None:
        check_choice("split_backing", self.split_backing, StepSwitch)
        check_choice("dereverb", self.remove_reverb, StepSwitch)


@dataclass(frozen=True, kw_only=True)
class BackingVoice:
    """How backing vocals are converted."""

    voice: str | None = None
    """A voice's name or file; ``None``: the voice of the lead."""
    conversion: ConversionSettings | None = None
    """``None``: as the lead, pitch shift included."""


@dataclass(frozen=True, kw_only=True)
class CoverSettings:
    """Settings of one song cover.

    All are validated at construction; a value outside its range raises :class:`SettingError`.
    """

    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    """Conversion of the lead vocal; its seed is the seed of the cover."""
    index_path: Path | None = None
    """Index to use instead of the voice's own."""
    backing: BackingVoice | None = None
    """Conversion of the backing vocals; ``None`` keeps them as they are sung."""
    source: SourceSettings = field(default_factory=SourceSettings)
    stems: StemSettings = field(default_factory=StemSettings)
    effects: EffectSettings | None = field(default_factory=EffectSettings)
    """Effects on the converted lead; ``None`` switches them off."""
    inst_semitones: int | None = None
    """Shift of the instruments, -24 to 24; ``None``: what keeps the key of the lead, see
    :func:`rest_semitones`."""
    backup_semitones: int | None = None
    """Shift of backing vocals that are not converted, -24 to 24; ``None``: that of the instruments."""
    main_gain: float = 0.0
    """Gain of the lead in dB, -60 to 20."""
    inst_gain: float = 0.0
    """Gain of the instruments in dB, -60 to 20."""
    backup_gain: float = 0.0
    """Gain of the backing vocals in dB, -60 to 20."""
    output_sr: int = 44100
    """Sample rate of the cover: 16000, 44100, 48000, 96000 or 192000 Hz."""
    output_format: AudioFormat | None = None
    """``None``: by the name of ``output_path``, else mp3."""
    bitrate_kbps: int | None = None
    """Bitrate of a lossy format, 32 to 320 (ogg from 64, mp3 at 16 kHz to 160); ``None``: the usual one."""
    output_name: str | None = None
    """Name of the cover without folder and suffix; ``None``: ``<song> (<voice> Ver)``."""
    output_path: Path | None = None
    """Exact file to write, replaced if it is there; ``None``: a free name in the output folder."""
    device: str = Device.AUTO
    """Where to compute; goes before that of ``optimization`` unless it is auto."""
    optimization: OptimizationConfig | None = None
    """How to compute, never what; ``None``: what environment, settings file and hardware ask for."""

    def __post_init__(self) -> None:
        for option in ("main_gain", "inst_gain", "backup_gain"):
            check_setting(option, getattr(self, option), MIN_GAIN_DB, MAX_GAIN_DB)
        for option in ("inst_semitones", "backup_semitones"):
            if (semitones := getattr(self, option)) is not None:
                check_setting(option, semitones, -MAX_REST_SEMITONES, MAX_REST_SEMITONES)
        self._check_output()

    def _check_output(self) -> None:
        if self.output_format is not None:
            check_choice("output_format", self.output_format, AudioFormat)
        if self.output_sr not in OUTPUT_RATES:
            raise SettingError(
                f"--output-sr is {self.output_sr}, but must be one of {', '.join(map(str, OUTPUT_RATES))}."
            )
        if self.output_path is not None and self.output_name is not None:
            raise SettingError("--output-name and --output name the same file; give one of them.")
        chosen = self.audio_format
        if self.output_sr > (highest := MAX_RATES.get(chosen, max(OUTPUT_RATES))):
            raise SettingError(
                f"--output-sr is {self.output_sr}, but {chosen} holds at most {highest} Hz; "
                "choose a lower rate or --output-format flac."
            )
        if self.bitrate_kbps is not None:
            if chosen in LOSSLESS_FORMATS:
                raise SettingError(
                    f"--bitrate has no meaning for {chosen}, which keeps everything; leave it out."
                )
            is_low_mp3 = chosen is AudioFormat.MP3 and self.output_sr <= MP3_LOW_RATE
            lowest = MIN_OGG_KBPS if chosen is AudioFormat.OGG else MIN_KBPS
            check_setting("bitrate", self.bitrate_kbps, lowest, MP3_LOW_RATE_KBPS if is_low_mp3 else MAX_KBPS)

    @property
    def audio_format(self) -> AudioFormat:
        """The format of the cover, from ``output_format`` and the suffix of ``output_path``.

        Raises
        ------
        SettingError
            When the two disagree, or the suffix is no format's.
        """
        if self.output_path is None:
            return AudioFormat(self.output_format or AudioFormat.MP3)
        suffix = self.output_path.suffix.lower().removeprefix(".")
        if suffix not in set(AudioFormat):
            raise SettingError(
                f"--output {self.output_path.name} should end in one of "
                f"{', '.join(f'.{name}' for name in AudioFormat)}."
            )
        if self.output_format not in (None, suffix):
            raise SettingError(
                f"--output {self.output_path.name} and --output-format {self.output_format} disagree; "
                "give one of them."
            )
        return AudioFormat(suffix)


def rest_semitones(shift_semitones: int) -> int:
    """The shift of the accompaniment that stays in key with a voice shifted by ``shift_semitones``.

    Whole octaves change no key, so they are left out, whether they were asked for as octaves or as
    twelve semitones, and the shorter way round is taken, because a small shift is heard less: 12
    gives 0, 7 gives -5, -13 gives -1. A tritone keeps its direction: 6 and 18 give 6, -6 gives -6.
    """
    direction = 1 if shift_semitones >= 0 else -1
    above = abs(shift_semitones) % 12
    return direction * (above if above <= 6 else above - 12)
