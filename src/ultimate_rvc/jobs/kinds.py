"""What can be done as a job: a table of kinds, each with its settings and the function that does it.

Nothing heavy is imported here: a door checks settings at once, the work is imported by the worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
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
    AudioError,
    DatasetError,
    SettingError,
    SourceError,
    VoiceFileError,
    check_setting,
)
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.plain import absolute, from_plain, merged, to_plain
from ultimate_rvc.rvc.infer.optimization.config import OptimizationConfig
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.rvc.train.data_settings import ExtractSettings, PreprocessSettings
from ultimate_rvc.rvc.train.folders import dataset_folder
from ultimate_rvc.rvc.train.settings import TrainingSettings
from ultimate_rvc.separation.models import AUTO_MODEL, SeparationTask
from ultimate_rvc.voices.names import checked_name

KINDS_TABLE = "ultimate_rvc.jobs.kinds:KINDS"
CANCEL_SECONDS = 1.0
DEMO_SOURCE = "demo"
SHOWN_NAMES = 2
STOP_TRAINING_SECONDS = 60.0  # it finishes its step, and saves, so that it can go on from there
# How a job computes is given beside what it makes, and only as far as it differs from what is in force.
NO_COVER_SETTINGS = ("cover.device", "cover.optimization")


@dataclass(frozen=True, kw_only=True)
class CoverJob:
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
class ConvertJob:
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
        _check_bitrate(self.output_format, self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class SeparateJob:
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
        _check_bitrate(self.output_format, self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class EffectsJob:
    """High-pass, compressor and reverb on a file of vocals; the reverb's tail is kept."""

    source: Path
    effects: EffectSettings = field(default_factory=EffectSettings)
    output_format: AudioFormat = AudioFormat.WAV
    bitrate_kbps: int | None = None

    def __post_init__(self) -> None:
        _check_bitrate(self.output_format, self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class MixJob:
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
class ImportVoiceJob:
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
            if given is not None and not is_link(given) and given not in _published_voices():
                object.__setattr__(self, name, str(absolute(given)))
        if self.sha256 is not None and not is_link(self.source):
            raise SettingError("sha256 has no meaning for a file that is here; leave it out.")


@dataclass(frozen=True, kw_only=True)
class DownloadJob:
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
class TrainJob(TrainParts):
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


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of job."""

    settings: type[Any]
    """A frozen dataclass, which checks its own values."""
    work: str
    """``module:function`` of what the worker calls with the settings and a ``Workbench``."""
    title: Callable[[Any], str]
    """From the settings, what the job does, for people."""
    check: Callable[[Any], None] = lambda _: None
    """Raises what can be found out before the job waits its turn."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Steps in their order with their share of the time, roughly; empty: there is but one."""
    cancel_seconds: float = CANCEL_SECONDS
    """How long it may take to end itself when it is cancelled; then its worker is killed."""
    uses_device: bool = True
    """False for errands, such as a download: they do not wait for a device, nor for who does."""
    leave_out: tuple[str, ...] = ()
    """Dotted fields of ``settings`` that a job does not take."""

    def read(self, given: object) -> Any:
        """Settings from plain values, checked as far as that costs nothing.

        Raises
        ------
        UltimateRVCError
            With the sentence for the user.
        """
        return from_plain(self.settings, given, leave_out=self.leave_out)

    def load_work(self) -> Callable[..., Any]:
        """The function ``work``; only the worker asks for it."""
        module, _, name = self.work.partition(":")
        work: Callable[..., Any] = getattr(import_module(module), name)
        return work

    def plain(self, settings: Any) -> dict[str, Any]:
        """All settings as plain values, as :meth:`read` takes them."""
        plain: dict[str, Any] = to_plain(settings)
        for dotted in self.leave_out:
            *path, last = dotted.split(".")
            inner = plain
            for name in path:
                inner = inner[name]
            del inner[last]
        return plain


def load_kinds(table: str) -> Mapping[str, Kind]:
    """The table of kinds at ``module:name``."""
    module, _, name = table.partition(":")
    kinds: Mapping[str, Kind] = getattr(import_module(module), name)
    return kinds


def find_kind(kinds: Mapping[str, Kind], name: str) -> Kind:
    """
    Raises
    ------
    SettingError
        There is no such kind.
    """
    if name not in kinds:
        raise SettingError(f"There is no kind of job {name!r}; choose from {', '.join(kinds)}.")
    return kinds[name]


def new_job(
    kinds: Mapping[str, Kind],
    name: str,
    given: object,
    *,
    client: str = "",
    group: str | None = None,
    rerun_of: int | None = None,
) -> Job:
    """A job to be kept, with all its settings, once everything that can be found out before is right.

    Raises
    ------
    UltimateRVCError
        The kind or a setting is none, a value is out of range, a file or voice is not there.
    """
    kind = find_kind(kinds, name)
    settings = kind.read(given)
    kind.check(settings)
    return Job(
        id=0,  # given by the store
        kind=name,
        title=kind.title(settings),
        settings=kind.plain(settings),
        client=client,
        group=group,
        rerun_of=rerun_of,
        created=time.time(),
    )


def repeated_job(
    kinds: Mapping[str, Kind], earlier: Job, changes: Mapping[str, Any], *, client: str | None = None
) -> Job:
    """A job with the settings of an earlier one; ``optimization`` is replaced by changes, the rest merged.

    Raises
    ------
    UltimateRVCError
        As :func:`new_job`.
    """
    settings = merged(earlier.settings, changes)
    if "optimization" in changes:
        settings["optimization"] = changes["optimization"]
    client = earlier.client if client is None else client
    return new_job(kinds, earlier.kind, settings, client=client, rerun_of=earlier.id)


def check_optimization(given: Mapping[str, Any]) -> None:
    """Refuse a name that is no switch and a value that is no choice; None stands for not given."""
    chosen = {name: value for name, value in given.items() if value is not None}
    from_plain(OptimizationConfig, chosen, "optimization")


def _check_bitrate(audio_format: AudioFormat, bitrate_kbps: int | None) -> None:
    if bitrate_kbps is None:
        return
    if audio_format in LOSSLESS_FORMATS:
        raise SettingError(
            f"bitrate_kbps has no meaning for {audio_format}, which keeps everything; leave it out."
        )
    CoverSettings(output_format=audio_format, bitrate_kbps=bitrate_kbps)  # knows the ranges


# ------------------------------------------------- what is found out before a job waits its turn


def _check_cover(settings: CoverJob) -> None:
    source = settings.source
    if source != DEMO_SOURCE and not is_url(source) and not Path(source).exists():
        raise SourceError(f"There is no file {source}; give a file, a folder of stems, a link, or 'demo'.")
    backing = settings.cover.backing
    _check_voice(settings.voice, settings.cover.index_path)
    if backing is not None and backing.voice is not None:
        _check_voice(backing.voice, None)


def _check_convert(settings: ConvertJob) -> None:
    _check_files(settings.sources)
    _check_voice(settings.voice, settings.index_path)


def _check_source(settings: SeparateJob | EffectsJob) -> None:
    _check_files((settings.source,))


def _check_files(paths: tuple[Path, ...]) -> None:
    for path in paths:
        if not path.is_file():
            raise AudioError(f"There is no file {path}; check its name.")


def _check_import(settings: ImportVoiceJob) -> None:
    is_here = is_link(settings.source) or settings.source in _published_voices()
    if not is_here and not Path(settings.source).exists():
        raise VoiceFileError(f"There is no file {settings.source}; check its name, or give a link.")


def _published_voices() -> list[str]:
    from ultimate_rvc.assets.registry import AssetKind, assets

    return [known.name for known in assets().values() if known.kind is AssetKind.VOICE]


def _check_train(settings: TrainJob) -> None:
    for path in settings.recordings:
        if not path.exists():
            raise DatasetError(f"There is no file or folder {path}; check its name.")
    if not settings.recordings and not dataset_folder(settings.name).is_dir():
        raise DatasetError(f"The dataset {settings.name!r} holds no recordings yet; name some.")


def _check_download(settings: DownloadJob) -> None:
    from ultimate_rvc.assets.registry import asset

    for name in settings.names:
        asset(name)


def _check_voice(name: str, index_path: Path | None) -> None:
    from ultimate_rvc.voices.library import find_voice

    find_voice(name)
    if index_path is not None and not index_path.is_file():
        raise VoiceFileError(f"There is no index file {index_path}; leave it out to use the voice's own.")


# -------------------------------------------------------------------------------- titles


def _names(paths: tuple[Path, ...]) -> str:
    shown = ", ".join(path.name for path in paths[:SHOWN_NAMES])
    more = len(paths) - SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _source_name(source: str) -> str:
    return source if is_url(source) else Path(source).name


KINDS: dict[str, Kind] = {
    "cover": Kind(
        settings=CoverJob,
        work="ultimate_rvc.jobs.work.cover:make",
        title=lambda job: f"{_source_name(job.source)} by {job.voice}",
        check=_check_cover,
        leave_out=NO_COVER_SETTINGS,
        shares={
            "retrieve": 0.02,
            "separate": 0.42,
            "split backing": 0.10,
            "remove reverb": 0.10,
            "convert": 0.24,
            "convert backing": 0.02,
            "effects": 0.02,
            "transpose instruments": 0.02,
            "transpose backing": 0.01,
            "mix": 0.02,
            "encode": 0.03,
        },
    ),
    "convert": Kind(
        settings=ConvertJob,
        work="ultimate_rvc.jobs.work.convert:convert",
        title=lambda job: f"{_names(job.sources)} by {job.voice}",
        check=_check_convert,
        shares={"load voice": 0.1, "convert": 0.9},
    ),
    "separate": Kind(
        settings=SeparateJob,
        work="ultimate_rvc.jobs.work.separate:separate",
        title=lambda job: f"{job.source.name} ({job.task})",
        check=_check_source,
        shares={"separate": 0.95, "write": 0.05},
    ),
    "effects": Kind(
        settings=EffectsJob,
        work="ultimate_rvc.jobs.work.mixing:add_effects",
        title=lambda job: f"{job.source.name} (effects)",
        check=_check_source,
        shares={"effects": 0.9, "write": 0.1},
    ),
    "mix": Kind(
        settings=MixJob,
        work="ultimate_rvc.jobs.work.mixing:mix_files",
        title=lambda job: job.output_name or _names(job.sources),
        check=lambda job: _check_files(job.sources),
        shares={"transpose": 0.5, "mix": 0.2, "encode": 0.3},
    ),
    "import-voice": Kind(
        settings=ImportVoiceJob,
        work="ultimate_rvc.jobs.work.voices:import_",
        title=lambda job: job.name or _source_name(job.source),
        check=_check_import,
        uses_device=False,
    ),
    "download": Kind(
        settings=DownloadJob,
        work="ultimate_rvc.jobs.work.assets:download",
        title=lambda job: ", ".join(job.names),
        check=_check_download,
        uses_device=False,
    ),
    "train": Kind(
        settings=TrainJob,
        work="ultimate_rvc.jobs.work.train:train",
        title=lambda job: job.name,
        check=_check_train,
        leave_out=("extraction.device", "training.device"),
        shares={"populate": 0.01, "preprocess": 0.03, "extract": 0.05, "train": 0.9, "index": 0.01},
        cancel_seconds=STOP_TRAINING_SECONDS,
    ),
}
