"""Datasets: folders of recordings, and whose voice each recording holds."""

from __future__ import annotations

import filecmp
import hashlib
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self

from ultimate_rvc.audio.decode import probe
from ultimate_rvc.audio.found import AUDIO_SUFFIXES
from ultimate_rvc.choices import AudioFormat
from ultimate_rvc.errors import AudioError, DatasetError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.train.folders import dataset_folder

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
    others to that of the folder above, and at the top to speaker 0. What is hidden is left out, and so
    are folders that are named like audio files.

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
        is_audio = path.suffix.lower() in AUDIO_SUFFIXES
        if path.name.startswith("."):
            continue
        if path.is_dir() and not is_audio:
            yield from _below(path, f"{name}/", _speaker_of(path.name, speaker))
        elif path.is_file() and is_audio:
            yield Recording(path, name, speaker)


def _speaker_of(folder_name: str, parent: int) -> int:
    return int(folder_name) if folder_name.isascii() and folder_name.isdecimal() else parent


def recordings_in(sources: Iterable[Path]) -> list[Recording]:
    """The recordings that ``sources`` are: audio files, and folders of them with their subfolders.

    Raises
    ------
    DatasetError
        A source is missing, hidden, or a file of a kind that training does not read.
    """
    found: list[Recording] = []
    for source in sources:
        if source.is_dir():
            found += find_recordings(source)
        elif not source.is_file():
            raise DatasetError(f'There is no file "{source}"; check its name.')
        elif source.name.startswith("."):
            raise DatasetError(f'"{source}" is a hidden file, which training leaves out; rename it.')
        elif source.suffix.lower() not in AUDIO_SUFFIXES:
            raise DatasetError(
                f'"{source}" is not of a kind that training reads '
                f"({', '.join(AudioFormat)}); convert it first."
            )
        else:
            found.append(Recording(source, unicodedata.normalize("NFC", source.name), 0))
    return found


@dataclass(frozen=True)
class Addition:
    """Recordings on their way into a dataset: they can be judged before they are copied, and taken back."""

    folder: Path
    present: tuple[Recording, ...]
    """What the dataset holds already."""
    new: tuple[Recording, ...]
    """What it does not hold yet, under the names that it will have there."""

    @classmethod
    def of(cls, name: str, sources: Sequence[Path]) -> Self:
        """``sources`` for the dataset ``name``, which need not exist unless there are none.

        Errors are those of :func:`populate_dataset` and :func:`find_recordings`.
        """
        folder = dataset_folder(name)
        is_filled = folder.is_dir() and any(_below(folder, "", 0))
        present = find_recordings(folder) if is_filled or not sources else []
        new: dict[str, Recording] = {}
        for recording in recordings_in(sources):
            if place := _free_place(recording, folder, new):
                new[place.casefold()] = replace(recording, name=place)
        return cls(folder, tuple(present), tuple(new.values()))

    @property
    def recordings(self) -> tuple[Recording, ...]:
        return self.present + self.new

    def copy(self, progress: Progress) -> None:
        for done, recording in enumerate(self.new):
            progress.report("populate", done / len(self.new), recording.name)
            with atomic_path(self.folder / recording.name) as unfinished:
                shutil.copyfile(recording.path, unfinished)
        progress.report("populate", 1.0)

    def take_back(self) -> None:
        """Remove what was copied, and the folders that are empty then; all else in the dataset stays."""
        for recording in self.new:
            (self.folder / recording.name).unlink(missing_ok=True)
            with suppress(OSError):  # of a folder that holds something else
                for inner in PurePosixPath(recording.name).parents:
                    (self.folder / inner).rmdir()


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
    addition = Addition.of(name, sources)
    addition.copy(progress or Progress())
    return addition.folder


def _free_place(recording: Recording, folder: Path, planned: Mapping[str, Recording]) -> str | None:
    """The name that ``recording`` gets in the dataset; None when it is there under that name already."""
    wanted, place, number = PurePosixPath(recording.name), recording.name, 0
    while True:
        other = planned[place.casefold()].path if place.casefold() in planned else folder / place
        if not other.exists():
            return place
        if filecmp.cmp(other, recording.path, shallow=False):
            return None
        number += 1
        place = str(wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}"))


def recordings_identity(recordings: Iterable[Recording]) -> str:
    """Hash over names, speakers and contents: equal exactly when the recordings are."""
    digest = hashlib.sha256()
    for recording in recordings:
        digest.update(f"{recording.name}\0{recording.speaker}\0{file_hash(recording.path)}\0".encode())
    return digest.hexdigest()
