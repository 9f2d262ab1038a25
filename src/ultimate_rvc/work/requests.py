"""What a user can ask for: a dataclass for each kind of work, whose values are checked when it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.choices import AudioFormat, Device, SpeechEngineName, SubtitleFormat, TextFormat
from ultimate_rvc.covers.settings import (
    MAX_GAIN_DB,
    MAX_KBPS,
    MAX_REST_SEMITONES,
    MIN_GAIN_DB,
    MIN_KBPS,
    OUTPUT_RATES,
    CoverSettings,
    check_output_format,
)
from ultimate_rvc.covers.source_checks import is_url
from ultimate_rvc.errors import SettingError
from ultimate_rvc.outputs import format_of, overwrite_setting
from ultimate_rvc.plain import absolute
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.train.data_settings import ExtractSettings, PreprocessSettings
from ultimate_rvc.rvc.train.settings import TrainingSettings
from ultimate_rvc.separation.models import AUTO_MODEL, SEPARATION_MODELS, SeparationTask
from ultimate_rvc.settings import REQUIRED, check, setting
from ultimate_rvc.speech.consent import WORDS as CONSENT_WORDS
from ultimate_rvc.switches import OptimizationConfig, check_switches
from ultimate_rvc.voices.names import checked_name

DEMO_SOURCE = "demo"
VOICE_HELP = "A voice's name in the library, or a .pth, .safetensors or .onnx file."


OUTPUT_FIELDS = frozenset({"output", "output_path"})


def _optimization() -> Any:
    """Fields of ``OptimizationConfig``, the device included, that differ from what is in force."""
    return field(default_factory=dict)


def _output(what: str) -> Any:
    return setting(None, f"{what} to write; left out: a free name in the output folder.", label="Output")


def _bitrate() -> Any:
    return setting(
        None, "Bitrate of mp3, ogg, opus, m4a and aac; left out: the usual one.", MIN_KBPS, MAX_KBPS, unit="kbit/s",
        label="Bitrate (kbit/s)",
    )  # fmt: skip


def _format(usual: AudioFormat) -> Any:
    return setting(
        None,
        f"Audio format: wav and flac keep everything, mp3 is small; left out: by the output's suffix, else {usual}.",
        label="File format",
    )


@dataclass(frozen=True, kw_only=True)
class CoverRequest:
    """A song cover."""

    source: str = setting(REQUIRED, "Song: a file, a folder of stems, a link, or demo.")
    voice: str = setting(REQUIRED, VOICE_HELP)
    cover: CoverSettings = field(default_factory=CoverSettings)
    optimization: Mapping[str, Any] = _optimization()

    def __post_init__(self) -> None:
        check(self)
        check_switches(self.optimization)
        if not self.source.strip():
            raise SettingError(
                "source is empty; give a file, a folder of stems, a link, or 'demo'.", "source"
            )
        if self.source != DEMO_SOURCE and not is_url(self.source):
            object.__setattr__(self, "source", str(absolute(self.source)))


@dataclass(frozen=True, kw_only=True)
class ConvertRequest:
    """Files of speech or singing through one voice."""

    sources: tuple[Path, ...] = setting(REQUIRED, "Files to convert; folders are searched.")
    voice: str = setting(REQUIRED, VOICE_HELP)
    index_path: Path | None = setting(
        None, "Index file to use instead of the voice's own.", label="Index file"
    )
    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    output: Path | None = _output("File for one source, folder for several,")
    overwrite: bool | None = overwrite_setting()
    output_format: AudioFormat | None = _format(AudioFormat.WAV)
    bitrate_kbps: int | None = _bitrate()
    optimization: Mapping[str, Any] = _optimization()

    def __post_init__(self) -> None:
        check(self)
        check_switches(self.optimization)
        check_output_format(self.output_format or AudioFormat.WAV, self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class SpeechRequest:
    """A text or document read aloud, in a voice."""

    text: str | None = setting(REQUIRED, "What to read aloud. None: the document.")
    document: Path | None = setting(
        None,
        "File to read aloud instead of a text: .txt, .md, .srt or .vtt (said at its times), .ssml, .epub.",
    )
    text_format: TextFormat = setting(
        TextFormat.AUTO,
        "How the text is written; auto: by the document's suffix, or by how the text begins.",
        label="Text format",
    )
    voice: str | None = setting(REQUIRED, f"{VOICE_HELP} None: as the engine's speaker reads it.")
    index_path: Path | None = setting(
        None, "Index file to use instead of the voice's own.", label="Index file"
    )
    engine: SpeechEngineName = setting(
        SpeechEngineName.AUTO, "Reads the text; auto: hibari (English), else the system's own voices."
    )
    speaker: str | None = setting(
        None, "Who reads, by the engine's name; left out: the first of the language. It decides the language."
    )
    language: str | None = setting(
        None, "Language that is read, such as en-GB or zh: the engine's first speaker of it reads."
    )
    rate: float = setting(1.0, "Pace: 2 is twice as fast.", 0.5, 2.0, step=0.05)
    consent: bool = setting(
        False, f"{CONSENT_WORDS} Asked for once, where the speaker is a recording of a person."
    )
    lexicon: Path | None = setting(
        None, "File of respellings, a line for each: the word, a tab, what is said for it."
    )
    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    loudness_lufs: float | None = setting(
        None, "Loudness of the result after BS.1770; left out: as it comes. Podcasts have -16, radio -23.",
        -40, -5, unit="LUFS", label="Loudness (LUFS)",
    )  # fmt: skip
    subtitles: SubtitleFormat | None = setting(
        None, "Subtitles beside the result, with the times at which it says them; left out: none."
    )
    split_chapters: bool = setting(
        False,
        "A file for each chapter of a book, or heading of the first level; the output is then a folder.",
        label="A file for each chapter",
    )
    output_name: str | None = setting(
        None,
        "Name of the result without folder and suffix; left out: the document's, or the first words.",
        label="File name",
    )
    output: Path | None = _output("File, or folder for chapters,")
    overwrite: bool | None = overwrite_setting()
    output_format: AudioFormat | None = _format(AudioFormat.WAV)
    bitrate_kbps: int | None = _bitrate()
    optimization: Mapping[str, Any] = _optimization()

    def __post_init__(self) -> None:
        check(self)
        check_switches(self.optimization)
        if self.split_chapters:
            check_output_format(self.output_format or AudioFormat.WAV, self.bitrate_kbps)
        else:
            check_output_format(written_format(self, AudioFormat.WAV), self.bitrate_kbps)
        if self.document is None and not (self.text or "").strip():
            raise SettingError("text is empty; say what is to be read aloud.", "text")
        if self.document is not None and self.text is not None:
            raise SettingError("text and document are both given; leave one out.", "text", "document")


@dataclass(frozen=True, kw_only=True)
class SeparateRequest:
    """A file into its parts."""

    source: Path = setting(REQUIRED, "Audio file.")
    task: SeparationTask = setting(SeparationTask.VOCALS, "What is taken apart.")
    model: str = setting(
        AUTO_MODEL, "Model to use; auto takes the best that is here, dsp needs no download and is rougher.",
        choices=(AUTO_MODEL, *SEPARATION_MODELS), open=True, label="Separation model",
    )  # fmt: skip
    output: Path | None = _output("Folder")
    overwrite: bool | None = overwrite_setting()
    output_format: AudioFormat | None = _format(AudioFormat.WAV)
    bitrate_kbps: int | None = _bitrate()
    optimization: Mapping[str, Any] = _optimization()
    """Only its device matters here."""

    def __post_init__(self) -> None:
        check(self)
        check_switches(self.optimization)
        check_output_format(self.output_format or AudioFormat.WAV, self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class EffectsRequest:
    """High-pass, compressor and reverb on a file of vocals; the reverb's tail is kept."""

    source: Path = setting(REQUIRED, "Audio file.")
    effects: EffectSettings = field(default_factory=EffectSettings)
    output: Path | None = _output("File")
    overwrite: bool | None = overwrite_setting()
    output_format: AudioFormat | None = _format(AudioFormat.WAV)
    bitrate_kbps: int | None = _bitrate()

    def __post_init__(self) -> None:
        check(self)
        check_output_format(written_format(self, AudioFormat.WAV), self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class TransposeRequest:
    """The pitch of music shifted; its length stays."""

    source: Path = setting(REQUIRED, "Audio file.")
    semitones: float = setting(REQUIRED, "Semitones to shift by.", -MAX_REST_SEMITONES, MAX_REST_SEMITONES)
    output: Path | None = _output("File")
    overwrite: bool | None = overwrite_setting()
    output_format: AudioFormat | None = _format(AudioFormat.WAV)
    bitrate_kbps: int | None = _bitrate()

    def __post_init__(self) -> None:
        check(self)
        check_output_format(written_format(self, AudioFormat.WAV), self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class WavifyRequest:
    """Any file with audio in it, video too, as a wav file."""

    source: Path = setting(REQUIRED, "Audio or video file.")
    output: Path | None = _output("File")
    beside: bool = setting(
        False, "Write beside the source, as the command line does, not into the output folder."
    )
    overwrite: bool | None = overwrite_setting()

    def __post_init__(self) -> None:
        check(self)
        if self.output is not None and self.output.suffix.lower() != ".wav":
            raise SettingError(
                f"output {self.output.name} should end in .wav, which is what is written.", "output"
            )


@dataclass(frozen=True, kw_only=True)
class MixRequest:
    """Files into one as long as the longest, each shifted and louder or softer."""

    sources: tuple[Path, ...] = setting(REQUIRED, "Audio files.")
    gains_db: tuple[float, ...] = setting(
        (), "Gain of each source, in order; left out: 0.", MIN_GAIN_DB, MAX_GAIN_DB, unit="dB"
    )
    semitones: tuple[int, ...] = setting(
        (), "Shift of each source in semitones, in order; left out: none.",
        *(-MAX_REST_SEMITONES, MAX_REST_SEMITONES),
    )  # fmt: skip
    output_name: str | None = setting(
        None, "Name of the result without folder and suffix; left out: that of the first source.",
        label="File name",
    )  # fmt: skip
    output: Path | None = _output("File")
    overwrite: bool | None = overwrite_setting()
    output_sr: int = setting(
        CoverSettings.output_sr, "Sample rate of the result in Hz.", choices=OUTPUT_RATES,
        label="Sample rate (Hz)",
    )  # fmt: skip
    output_format: AudioFormat | None = _format(AudioFormat.MP3)
    bitrate_kbps: int | None = _bitrate()

    def __post_init__(self) -> None:
        check(self)
        for name in ("gains_db", "semitones"):
            if (count := len(getattr(self, name))) not in (0, len(self.sources)):
                raise SettingError(
                    f"{name} has {count} values for {len(self.sources)} sources; give one for each.", name
                )
        check_output_format(written_format(self, AudioFormat.MP3), self.bitrate_kbps, self.output_sr)


@dataclass(frozen=True, kw_only=True)
class ImportVoiceRequest:
    """A voice into the library."""

    source: str = setting(
        REQUIRED, "A link, a published voice's name, a .pth, .safetensors, .onnx or .zip file, or a folder."
    )
    name: str | None = setting(None, "Name in the library; left out: the file's.")
    index: str | None = setting(
        None,
        "Its index: a file, or with a link also a link; left out: what lies beside the voice.",
        path=True,
    )
    sha256: str | None = setting(None, "What a link must lead to, 64 hexadecimal digits.")
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

    names: tuple[str, ...] = setting(REQUIRED, "Models by name.")

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

    name: str = setting(REQUIRED, "Name of the voice, its dataset and its training.")
    recordings: tuple[Path, ...] = setting(
        (), "Files and folders to add to its dataset; none: train on what it holds."
    )
    device: str = setting(Device.AUTO.value, "Where to prepare and train.")

    def __post_init__(self) -> None:
        if len(OptimizationConfig(device=self.device).devices) > 1:  # which knows the choices
            raise SettingError(f"device is {self.device}, but a training runs on one device.", "device")
        object.__setattr__(self, "name", checked_name(self.name))


def written_format(request: Any, usual: AudioFormat) -> AudioFormat:
    """The format of what a request writes: by its output's suffix, else as it says, else the usual one.

    Raises
    ------
    SettingError
        The suffix is no format's, or another's than ``output_format``.
    """
    if request.output is None:
        return request.output_format or usual
    return format_of(request.output, request.output_format)


def input_paths(settings: Any) -> Iterator[Path]:
    """All files and folders that a request, or settings within it, name to be read."""
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        if is_dataclass(value):
            yield from input_paths(value)
        elif isinstance(value, Path) and entry.name not in OUTPUT_FIELDS:
            yield value
        elif isinstance(value, tuple):
            yield from (part for part in value if isinstance(part, Path))


def published_voices() -> list[str]:
    from ultimate_rvc.assets.registry import AssetKind, assets

    return [known.name for known in assets().values() if known.kind is AssetKind.VOICE]
