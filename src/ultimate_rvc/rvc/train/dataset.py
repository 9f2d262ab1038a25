"""Datasets: folders of recordings, and whose voice each recording holds."""

from __future__ import annotations

import hashlib
import logging
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.audio.decode import probe
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.errors import AudioError, DatasetError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.train.folders import dataset_folder

logger = logging.getLogger(__name__)

AUDIO_SUFFIXES = frozenset(f".{audio_format}" for audio_format in AudioFormat)
MAX_SPEAKERS = 109  # rows of the speaker table in RVC's pretrained networks


@dataclass(frozen=True)
class Recording:
    """One file of a dataset; ``name`` is its path inside the dataset, with ``/`` on every system."""

    path: Path
    name: str
    speaker: int

    def seconds(self) -> float:
        """How long the file says it is; 0 for one that cannot be read."""
        try:
            return probe(self.path).duration_seconds
        except AudioError:
            return 0.0


def find_recordings(dataset: Path) -> list[Recording]:
    """Every recording in the folder ``dataset`` and below, in the order of their names.

    The files of a subfolder with a whole number for a name belong to the speaker of that number, all
    others to that of the folder above, and at the top to speaker 0. What is hidden is left out.

    Raises
    ------
    DatasetError
        There is no such folder, no recording in it, or a speaker beyond 108.
    """
    if not dataset.is_dir():
        raise DatasetError(f'There is no folder "{dataset}": fill it with `urvc train populate-dataset`.')
    recordings = sorted(_below(dataset, "", 0), key=lambda recording: recording.name)
    if not recordings:
        raise DatasetError(
            f'The folder "{dataset}" holds no recordings: add files of the kinds {", ".join(AudioFormat)}.'
        )
    for recording in recordings:
        if recording.speaker >= MAX_SPEAKERS:
            raise DatasetError(
                f'"{recording.name}" belongs to speaker {recording.speaker}, but speakers are numbered from '
                f"0 to {MAX_SPEAKERS - 1}: rename its folder."
            )
    return recordings


def _below(folder: Path, prefix: str, speaker: int) -> Iterator[Recording]:
    for path in folder.iterdir():
        name = prefix + unicodedata.normalize("NFC", path.name)
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _below(path, f"{name}/", _speaker_of(path.name, speaker))
        elif path.suffix.lower() in AUDIO_SUFFIXES:
            yield Recording(path, name, speaker)


def _speaker_of(folder_name: str, parent: int) -> int:
    return int(folder_name) if folder_name.isascii() and folder_name.isdecimal() else parent


def populate_dataset(name: str, sources: Sequence[Path], *, progress: Progress | None = None) -> Path:
    """Copy recordings into the dataset ``name`` and return its folder.

    Parameters
    ----------
    name
        Of the dataset; it is made when it is not there, and added to when it is.
    sources
        Audio files, and folders of them, whose subfolders are kept as they tell speakers apart. A file
        that the dataset holds already is not copied again; another of the same name gets a number.

    Raises
    ------
    DatasetError
        A source is missing, or a file of a kind that training does not read. Nothing is copied then.
    SettingError
        The name is none.
    """
    folder = dataset_folder(name)
    files = list(_files_of(sources))
    for done, (path, place) in enumerate(files):
        if progress is not None:
            progress.report("populate", done / len(files), path.name)
        _copy(path, folder / place)
    if progress is not None:
        progress.report("populate", 1.0)
    return folder


def _files_of(sources: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Each file and its place inside the dataset."""
    for source in sources:
        if source.is_dir():
            for recording in find_recordings(source):
                yield recording.path, recording.name
        elif not source.is_file():
            raise DatasetError(f'There is no file "{source}"; check its name.')
        elif source.suffix.lower() not in AUDIO_SUFFIXES:
            raise DatasetError(
                f'"{source}" is not of a kind that training reads '
                f"({', '.join(AudioFormat)}); convert it first."
            )
        else:
            yield source, unicodedata.normalize("NFC", source.name)


def _copy(source: Path, target: Path) -> None:
    wanted, number = target, 0
    while target.exists():
        if file_hash(target) == file_hash(source):
            logger.info('"%s" is in the dataset already', source)
            return
        number += 1
        target = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")
    with atomic_path(target) as unfinished:
        shutil.copyfile(source, unfinished)


def recordings_identity(recordings: Iterable[Recording]) -> str:
    """Hash over names, speakers and contents: equal exactly when the recordings are."""
    digest = hashlib.sha256()
    for recording in recordings:
        digest.update(f"{recording.name}\0{recording.speaker}\0{file_hash(recording.path)}\0".encode())
    return digest.hexdigest()
