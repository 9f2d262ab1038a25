"""What a cover sounds like and where it goes: one dataclass for every door."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.choices import AudioFormat, Device, Quality, StepSwitch
from ultimate_rvc.errors import SettingError
from ultimate_rvc.outputs import format_of, overwrite_setting
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.separation.models import AUTO_MODEL, SeparationTask, model_names
from ultimate_rvc.settings import check, check_range, setting
from ultimate_rvc.switches import OptimizationConfig

OUTPUT_RATES = (16000, 44100, 48000, 96000, 192000)
MAX_RATES = {
    AudioFormat.MP3: 48000,
    AudioFormat.OPUS: 48000,
    AudioFormat.M4A: 96000,
    AudioFormat.AAC: 96000,
}
LOSSLESS_FORMATS = (AudioFormat.WAV, AudioFormat.FLAC)
MIN_KBPS, MIN_OGG_KBPS, MAX_KBPS = 32, 64, 320
MP3_LOW_RATE, MP3_LOW_RATE_KBPS = 24000, 160  # up to this rate mp3 is "MPEG-2", which ends at 160
MIN_GAIN_DB, MAX_GAIN_DB = -60.0, 20.0  # -60 dB is silence in a mix
MAX_REST_SEMITONES = 24  # beyond two octaves nothing of an accompaniment is left to recognise
OVERLAP_SECONDS = 1.0  # by which the pieces of a long song, and their stems, overlap


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """How a song is fetched."""

    cookiefile: Path | None = setting(
        None, "Cookies in Netscape format, for links that need a sign-in.", label="Cookies file"
    )
    max_minutes: float = setting(
        60.0, "Longest song taken: a wrong link should not cost hours.", 0.1, 600, unit="minutes",
        label="Longest song (minutes)",
    )  # fmt: skip
    network_timeout_seconds: float = setting(
        20.0, "How long a server may stay silent.", 0.1, 600, unit="s", label="Network timeout (s)"
    )

    def __post_init__(self) -> None:
        check(self)


def _models(task: SeparationTask) -> Callable[[], tuple[str, ...]]:
    return lambda: tuple(model_names(task))


@dataclass(frozen=True, kw_only=True)
class StemSettings:
    """How a song is taken apart; models by the names of ``separation.SEPARATION_MODELS``, or the user's own."""

    vocals_model: str = setting(
        AUTO_MODEL,
        "Separates vocals from instruments; auto: by the quality; dsp needs no download and is rougher.",
        choices=_models(SeparationTask.VOCALS), open=True, label="Separation model",
    )  # fmt: skip
    split_backing: StepSwitch = setting(
        StepSwitch.AUTO, "Separate the lead from backing vocals; auto: by the quality.",
        label="Split backing vocals",
    )  # fmt: skip
    backing_model: str = setting(
        AUTO_MODEL, "Separates the lead from backing vocals.", choices=_models(SeparationTask.LEAD), open=True,
        label="Backing vocals model",
    )  # fmt: skip
    remove_reverb: StepSwitch = setting(
        StepSwitch.AUTO, "Dry the lead before conversion; auto: by the quality."
    )
    reverb_model: str = setting(
        AUTO_MODEL, "Removes the reverb of the lead.", choices=_models(SeparationTask.REVERB), open=True
    )
    overlap: float | None = setting(
        None, "Share of a chunk that a network computes twice; left out: by the quality.", 0.01, 0.9, step=0.01,
        label="Overlap of chunks",
    )  # fmt: skip
    exact_stems: bool = setting(
        False, "Separate in float32 where half of that is faster: slower, with hardly another sound.",
        label="Separate in float32",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class BackingVoice:
    """How backing vocals are converted: as the lead, but for what is given here."""

    voice: str | None = setting(
        None, "Voice of the backing vocals, a name or file; left out: the voice of the lead.",
        label="Voice of the backing vocals",
    )  # fmt: skip
    n_octaves: int | None = setting(
        None, "Octaves to shift the backing vocals by; left out: as the lead.", -4, 4, label="Backing octaves"
    )
    n_semitones: int | None = setting(
        None, "Semitones to shift the backing vocals by; left out: as the lead.", -48, 48,
        label="Backing semitones",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)

    def conversion(self, lead: ConversionSettings) -> ConversionSettings:
        """The lead's conversion with the shift of the backing vocals."""
        own: dict[str, Any] = {"n_octaves": self.n_octaves, "n_semitones": self.n_semitones}
        return replace(lead, **{name: value for name, value in own.items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class CoverSettings:
    """Settings of one song cover.

    All are validated at construction; a value outside its range raises :class:`SettingError`.
    """

    quality: Quality = setting(
        Quality.AUTO,
        "How well the song is taken apart, and how long it takes; auto: the best in reasonable time on this machine.",
    )
    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    """Conversion of the lead vocal; its seed is the seed of the cover."""
    index_path: Path | None = setting(
        None, "Index file to use instead of the voice's own.", label="Index file"
    )
    backing: BackingVoice | None = None
    """Conversion of the backing vocals; ``None`` keeps them as they are sung."""
    source: SourceSettings = field(default_factory=SourceSettings)
    stems: StemSettings = field(default_factory=StemSettings)
    effects: EffectSettings | None = field(default_factory=EffectSettings)
    """Effects on the converted lead; ``None`` switches them off."""
    inst_semitones: int | None = setting(
        None, "Shift of the instruments in semitones; left out: what keeps them in key with the voice.",
        *(-MAX_REST_SEMITONES, MAX_REST_SEMITONES), label="Music shift (semitones)",
    )  # fmt: skip
    backup_semitones: int | None = setting(
        None, "Shift of backing vocals that are not converted; left out: that of the instruments.",
        *(-MAX_REST_SEMITONES, MAX_REST_SEMITONES), label="Backing shift (semitones)",
    )  # fmt: skip
    main_gain: float = setting(
        0.0, "Gain of the lead.", MIN_GAIN_DB, MAX_GAIN_DB, step=0.5, unit="dB", label="Lead volume (dB)"
    )
    inst_gain: float = setting(
        0.0, "Gain of the instruments.", MIN_GAIN_DB, MAX_GAIN_DB, step=0.5, unit="dB",
        label="Music volume (dB)",
    )  # fmt: skip
    backup_gain: float = setting(
        0.0, "Gain of the backing vocals.", MIN_GAIN_DB, MAX_GAIN_DB, step=0.5, unit="dB",
        label="Backing volume (dB)",
    )  # fmt: skip
    output_sr: int = setting(
        44100, "Sample rate of the cover in Hz.", choices=OUTPUT_RATES, label="Sample rate (Hz)"
    )
    output_format: AudioFormat | None = setting(
        None, "Audio format: wav and flac keep everything, mp3 is small; left out: by the output's suffix, else mp3.",
        label="File format",
    )  # fmt: skip
    bitrate_kbps: int | None = setting(
        None, "Bitrate of mp3, ogg, opus, m4a and aac; left out: the usual one.", MIN_KBPS, MAX_KBPS, unit="kbit/s",
        label="Bitrate (kbit/s)",
    )  # fmt: skip
    output_name: str | None = setting(
        None, "Name of the cover without folder and suffix; left out: song and voice.", label="File name"
    )
    output_path: Path | None = setting(
        None, "File to write; left out: a free name in the output folder.",
        label="File to write",
    )  # fmt: skip
    overwrite: bool | None = overwrite_setting()
    device: str = Device.AUTO
    """Where to compute; goes before that of ``optimization`` unless it is auto."""
    optimization: OptimizationConfig | None = None
    """How to compute, never what; ``None``: what environment, settings file and hardware ask for."""

    def __post_init__(self) -> None:
        check(self)
        if self.output_path is not None and self.output_name is not None:
            raise SettingError(
                "output_name and output_path name the same file; give one of them.",
                *("output_name", "output_path"),
            )
        check_output_format(self.audio_format, self.bitrate_kbps, self.output_sr)

    @property
    def audio_format(self) -> AudioFormat:
        """The format of the cover, from ``output_format`` and the suffix of ``output_path``.

        Raises
        ------
        SettingError
            When the two disagree, or the suffix is no format's.
        """
        if self.output_path is None:
            return self.output_format or AudioFormat.MP3
        return format_of(self.output_path, self.output_format, "output_path")


def check_output_format(
    audio_format: AudioFormat, bitrate_kbps: int | None, sample_rate: int | None = None
) -> None:
    """
    Raises
    ------
    SettingError
        The format holds no such rate, or has no such bitrate.
    """
    if sample_rate is not None and sample_rate > (highest := MAX_RATES.get(audio_format, max(OUTPUT_RATES))):
        raise SettingError(
            f"output_sr is {sample_rate}, but {audio_format} holds at most {highest} Hz; "
            "choose a lower rate or output_format flac.",
            *("output_sr", "output_format"),
        )
    if bitrate_kbps is None:
        return
    if audio_format in LOSSLESS_FORMATS:
        raise SettingError(
            f"bitrate_kbps has no meaning for {audio_format}, which keeps everything; leave it out.",
            "bitrate_kbps",
        )
    is_low_mp3 = audio_format is AudioFormat.MP3 and sample_rate is not None and sample_rate <= MP3_LOW_RATE
    lowest = MIN_OGG_KBPS if audio_format is AudioFormat.OGG else MIN_KBPS
    check_range("bitrate_kbps", bitrate_kbps, lowest, MP3_LOW_RATE_KBPS if is_low_mp3 else MAX_KBPS)


def rest_semitones(shift_semitones: int) -> int:
    """The shift of the accompaniment that stays in key with a voice shifted by ``shift_semitones``.

    Whole octaves change no key, so they are left out, whether they were asked for as octaves or as
    twelve semitones, and the shorter way round is taken, because a small shift is heard less: 12
    gives 0, 7 gives -5, -13 gives -1. A tritone keeps its direction: 6 and 18 give 6, -6 gives -6.
    """
    direction = 1 if shift_semitones >= 0 else -1
    above = abs(shift_semitones) % 12
    return direction * (above if above <= 6 else above - 12)
