"""What a cover is made of: the song, its stems at every step, and all of them as one archive."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.files import atomic_path
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.outside import files_there
from ultimate_rvc.outputs import fitted
from ultimate_rvc.web.texts import Texts

ORIGINAL = "retrieve"  # the step that copies the song into the cache
# What a listener wants to compare; the others are the same sound at another stage of the mix.
STEPS_WITH_STEMS = (
    "separate",
    "split backing",
    "remove reverb",
    "convert",
    "convert backing",
    "effects",
    "transpose instruments",
    "transpose backing",
)
# Of each part of a cover the last of these is what was mixed: step and stem.
MIXED = (
    (("convert", "converted"), ("effects", "effects")),
    (("retrieve", "instrumental"), ("separate", "instrumental"), ("transpose instruments", "transposed")),
    (
        ("retrieve", "backing"),
        ("split backing", "backing"),
        ("convert backing", "converted"),
        ("transpose backing", "transposed"),
    ),
)


@dataclass(frozen=True)
class Track:
    """A stem of a mixer: its files follow one another, as those of a song that was taken apart in pieces."""

    label: str
    paths: tuple[Path, ...]
    plays: bool
    """Whether it sounds at first: together such tracks are the result."""


def cover_file(job: Job | None) -> Path | None:
    """The cover, if the job made one that is still there."""
    return next((file.path for file in files_there(job) if file.role == "cover"), None)


def original(job: Job | None) -> Path | None:
    """The song of a cover as it came, if it came whole and its copy is still in the cache."""
    files = _steps(job).get(ORIGINAL, ())
    return files[0] if len(files) == 1 else None


def stems(job: Job | None, texts: Texts) -> list[Track]:
    """The song and its stems, as far as they are still in the cache, in the order of the recipe."""
    steps = _steps(job)
    mixed = {found[-1] for part in MIXED if (found := [each for each in part if _named(steps, *each)])}
    song = original(job)
    tracks = [Track(texts("player.original"), (song,), False)] if song else []
    for step in (ORIGINAL, *STEPS_WITH_STEMS):
        names = dict.fromkeys(path.stem for path in steps.get(step, ()) if path != song)
        tracks += [
            Track(
                f"{texts.named('step', step)}: {texts.named('stem', name)}",
                tuple(_named(steps, step, name)),
                (step, name) in mixed,
            )
            for name in names
        ]
    return tracks


def _steps(job: Job | None) -> dict[str, list[Path]]:
    """Files of each step that are still there; of a song in pieces, those of all pieces."""
    found: dict[str, list[Path]] = {}
    for step in job.result.steps if job is not None and job.result is not None else ():
        found.setdefault(step.name, []).extend(path for path in step.files if path.is_file())
    return found


def _named(steps: dict[str, list[Path]], step: str, name: str) -> list[Path]:
    return [path for path in steps.get(step, ()) if path.stem == name]


def zip_stems(tracks: Sequence[Track], folder: Path, name: str) -> Path:
    """All files of the tracks in ``<name> stems.zip`` in a folder of ours, numbered as they are listed.

    Raises
    ------
    OSError
        Naming the archive, if it cannot be written.
    """
    path = folder / f"{fitted(name, ' stems', '.zip')}.zip"
    with atomic_path(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for number, track in enumerate(tracks, start=1):
            for part, file in enumerate(track.paths, start=1):
                piece = f" ({part})" if len(track.paths) > 1 else ""
                archive.write(file, f"{number:02} {track.label.replace(': ', ' - ')}{piece}{file.suffix}")
    return path
