"""Where MockingBird's models are: a folder each, with the checkpoints of its networks.

``models/speech/mockingbird/NAME/`` holds the checkpoint of a synthesizer, that of a vocoder, the vocoder's JSON, and
perhaps a speaker encoder; ``speakers/`` in it holds recordings and embeddings (``.npy``) of who can read. Files may
have any name: what they hold tells what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.audio.found import AUDIO_SUFFIXES
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.outputs import file_title
from ultimate_rvc.paths import models_dir

EMBEDDING_SUFFIX = ".npy"
SPEAKERS_FOLDER = "speakers"


def mockingbird_dir() -> Path:
    """Where the models are."""
    return models_dir() / "speech" / "mockingbird"


def model_folders() -> dict[str, Path]:
    """The folder of every model by its name."""
    folder = mockingbird_dir()
    if not folder.is_dir():
        return {}
    return {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    }


@dataclass(frozen=True)
class Who:
    """Somebody who can read: the folder of the model, and a recording or a stored embedding."""

    model: Path
    voice: Path


def find_model(name: str) -> Path:
    """The folder of a model by its name; a :class:`SpeechError` tells which there are."""
    models = model_folders()
    if name not in models:
        known = ", ".join(models) or f"none; put one into {mockingbird_dir()}"
        raise SpeechError(f"There is no MockingBird model {name!r} (there: {known}).")
    return models[name]


def new_model_folder(name: str) -> Path:
    """Where a model of a new name belongs."""
    return mockingbird_dir() / checked_name(name)


def checked_name(name: str) -> str:
    """``name`` of a model or speaker, if a file can be called so; else a :class:`SpeechError`."""
    if name != file_title(name):
        raise SpeechError(f"{name!r} is no name for a file: try {file_title(name)!r}.")
    return name


def stored_speakers(model: Path) -> dict[str, Path]:
    """Recordings and embeddings in the folder of a model, by name."""
    folder = model / SPEAKERS_FOLDER
    return {
        path.stem: path
        for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if path.suffix.lower() in (EMBEDDING_SUFFIX, *AUDIO_SUFFIXES) and not path.name.startswith(".")
    }


def find_speaker(name: str) -> Who:
    """Who ``name`` is: ``model:speaker`` or, for the first model, the speaker alone.

    A speaker is a stored one, or the path of a recording or of an embedding.

    Raises
    ------
    SpeechError
        There is no model, or no such speaker; the sentence tells where one belongs.
    """
    models = model_folders()
    if not models:
        raise SpeechError(
            f"There is no MockingBird model: put its checkpoints into a folder in {mockingbird_dir()}."
        )
    model, speaker = _model_and_speaker(models, name)
    stored = stored_speakers(model)
    if speaker in stored:
        return Who(model, stored[speaker])
    path = Path(speaker).expanduser()
    if path.is_file():
        return Who(model, path)
    if not speaker:
        raise SpeechError(
            "MockingBird reads in the voice of a recording: give the path of one (5 to 15 s of speech) as the "
            f"speaker, or put recordings into {model / SPEAKERS_FOLDER}.",
            "speaker",
        )
    known = ", ".join(list(stored)[:12]) or "none"
    raise SpeechError(
        f"speaker '{name}' is neither a recording nor stored with the MockingBird model '{model.name}' (stored: "
        f"{known}): name a recording of the voice, or put one into {model / SPEAKERS_FOLDER}.",
        "speaker",
    )


def _model_and_speaker(models: Mapping[str, Path], name: str) -> tuple[Path, str]:
    """The folder of the model that ``name`` begins with, or of the first one, and the rest of the name."""
    first, _, rest = name.partition(":")
    return (models[first], rest) if first in models else (next(iter(models.values())), name)
