"""What can be done as a job: a table of kinds, each with its settings and the function that does it.

Nothing heavy is imported here: a door checks settings at once, the work is imported by the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.covers.source_checks import is_url
from ultimate_rvc.errors import (
    AudioError,
    DatasetError,
    SettingError,
    SourceError,
    SpeechError,
    VoiceFileError,
)
from ultimate_rvc.plain import from_plain, to_plain
from ultimate_rvc.rvc.train.folders import dataset_folder
from ultimate_rvc.settings import schema
from ultimate_rvc.switches import OptimizationConfig
from ultimate_rvc.work.requests import (
    DEMO_SOURCE,
    ConvertRequest,
    CoverRequest,
    DownloadRequest,
    EffectsRequest,
    ImportVoiceRequest,
    MixRequest,
    SeparateRequest,
    SpeechRequest,
    TrainRequest,
    TransposeRequest,
    WavifyRequest,
    published_voices,
)

OPTIMIZATION = "optimization"
KINDS_TABLE = "ultimate_rvc.work.kinds:KINDS"
CANCEL_SECONDS = 1.0
SHOWN_NAMES = 2
SHOWN_WORDS = 6
STOP_TRAINING_SECONDS = 60.0  # it finishes its step, and saves, so that it can go on from there
# How a job computes is given beside what it makes, and only as far as it differs from what is in force.
NO_COVER_SETTINGS = ("cover.device", "cover.optimization")


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


def schema_of(name: str) -> dict[str, Any]:
    """JSON Schema of the settings of a kind of job, as :meth:`Kind.read` takes them.

    Raises
    ------
    SettingError
        There is no such kind.
    """
    kind = find_kind(KINDS, name)
    known = schema(kind.settings)
    for dotted in kind.leave_out:
        *path, last = dotted.split(".")
        inner = known
        for part in path:
            inner = inner["properties"][part]
        inner["properties"].pop(last, None)
    if OPTIMIZATION in {entry.name for entry in fields(kind.settings)}:
        known["properties"][OPTIMIZATION] = schema(OptimizationConfig)
    return known


# ------------------------------------------------- what is found out before a job waits its turn


def _check_cover(settings: CoverRequest) -> None:
    source = settings.source
    if source != DEMO_SOURCE and not is_url(source) and not Path(source).exists():
        raise SourceError(f"There is no file {source}; give a file, a folder of stems, a link, or 'demo'.")
    backing = settings.cover.backing
    _check_voice(settings.voice, settings.cover.index_path)
    if backing is not None and backing.voice is not None:
        _check_voice(backing.voice, None)


def _check_convert(settings: ConvertRequest) -> None:
    for path in settings.sources:
        if not path.exists():
            raise AudioError(f"There is no file {path}; check its name.")
    _check_voice(settings.voice, settings.index_path)


def _check_speech(settings: SpeechRequest) -> None:
    from ultimate_rvc.speech.engines import checked_engine

    checked_engine(settings.engine)
    for path in (settings.document, settings.lexicon):
        if path is not None and not path.is_file():
            raise SpeechError(f"There is no file {path}; check its name.")
    if settings.voice is not None:
        _check_voice(settings.voice, settings.index_path)


def _check_source(settings: SeparateRequest | EffectsRequest | TransposeRequest | WavifyRequest) -> None:
    _check_files((settings.source,))


def _check_files(paths: tuple[Path, ...]) -> None:
    for path in paths:
        if not path.is_file():
            raise AudioError(f"There is no file {path}; check its name.")


def _check_import(settings: ImportVoiceRequest) -> None:
    is_here = is_link(settings.source) or settings.source in published_voices()
    if not is_here and not Path(settings.source).exists():
        raise VoiceFileError(f"There is no file {settings.source}; check its name, or give a link.")


def _check_train(settings: TrainRequest) -> None:
    for path in settings.recordings:
        if not path.exists():
            raise DatasetError(f"There is no file or folder {path}; check its name.")
    if not settings.recordings and not dataset_folder(settings.name).is_dir():
        raise DatasetError(f"The dataset {settings.name!r} holds no recordings yet; name some.")


def _check_download(settings: DownloadRequest) -> None:
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


def _speech_title(job: SpeechRequest) -> str:
    words = " ".join((job.text or "").split()[:SHOWN_WORDS])
    if job.document is not None:
        words = job.document.name
    return f"{words} by {job.voice}" if job.voice is not None else words


KINDS: dict[str, Kind] = {
    "cover": Kind(
        settings=CoverRequest,
        work="ultimate_rvc.work.cover:make",
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
        settings=ConvertRequest,
        work="ultimate_rvc.work.convert:convert",
        title=lambda job: f"{_names(job.sources)} by {job.voice}",
        check=_check_convert,
        shares={"load voice": 0.1, "convert": 0.9},
    ),
    "speech": Kind(
        settings=SpeechRequest,
        work="ultimate_rvc.work.speech:speak",
        title=_speech_title,
        check=_check_speech,
        shares={"load voice": 0.1, "speak": 0.2, "convert": 0.68, "write": 0.02},
    ),
    "separate": Kind(
        settings=SeparateRequest,
        work="ultimate_rvc.work.separate:separate",
        title=lambda job: f"{job.source.name} ({job.task})",
        check=_check_source,
        shares={"separate": 0.95, "write": 0.05},
    ),
    "effects": Kind(
        settings=EffectsRequest,
        work="ultimate_rvc.work.changes:add_effects",
        title=lambda job: f"{job.source.name} (effects)",
        check=_check_source,
        shares={"effects": 0.9, "write": 0.1},
    ),
    "transpose": Kind(
        settings=TransposeRequest,
        work="ultimate_rvc.work.changes:transpose",
        title=lambda job: f"{job.source.name} ({job.semitones:+g} semitones)",
        check=_check_source,
        shares={"transpose": 0.9, "write": 0.1},
        uses_device=False,
    ),
    "wavify": Kind(
        settings=WavifyRequest,
        work="ultimate_rvc.work.changes:wavify",
        title=lambda job: f"{job.source.name} (wav)",
        check=_check_source,
        shares={"wavify": 0.5, "write": 0.5},
        uses_device=False,
    ),
    "mix": Kind(
        settings=MixRequest,
        work="ultimate_rvc.work.changes:mix_files",
        title=lambda job: job.output_name or _names(job.sources),
        check=lambda job: _check_files(job.sources),
        shares={"transpose": 0.5, "mix": 0.2, "encode": 0.3},
    ),
    "import-voice": Kind(
        settings=ImportVoiceRequest,
        work="ultimate_rvc.work.voices:import_",
        title=lambda job: job.name or _source_name(job.source),
        check=_check_import,
        uses_device=False,
    ),
    "download": Kind(
        settings=DownloadRequest,
        work="ultimate_rvc.work.assets:download",
        title=lambda job: ", ".join(job.names),
        check=_check_download,
        uses_device=False,
    ),
    "train": Kind(
        settings=TrainRequest,
        work="ultimate_rvc.work.train:train",
        title=lambda job: job.name,
        check=_check_train,
        leave_out=("extraction.device", "training.device"),
        shares={"populate": 0.01, "preprocess": 0.03, "extract": 0.05, "train": 0.9, "index": 0.01},
        cancel_seconds=STOP_TRAINING_SECONDS,
    ),
}
