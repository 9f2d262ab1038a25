"""Where MockingBird's models are: a folder each, with the checkpoints of its networks.

``models/speech/mockingbird/NAME/`` holds the checkpoint of a synthesizer, that of a vocoder, the vocoder's JSON, and
perhaps a speaker encoder; ``speakers/`` in it holds recordings and embeddings (``.npy``) of who can read. Files may
have any name: what they hold tells what they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.audio.found import AUDIO_SUFFIXES
from ultimate_rvc.errors import SpeechError
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
    first, _, rest = name.partition(":")
    model, speaker = (
        (models[first], rest) if first in models and rest else (next(iter(models.values())), name)
    )
    stored = stored_speakers(model)
    if speaker in stored:
        return Who(model, stored[speaker])
    path = Path(speaker).expanduser()
    if path.is_file():
        return Who(model, path)
    known = ", ".join(list(stored)[:12]) or "none"
    raise SpeechError(
        f"speaker '{name}' is neither a recording nor stored with the MockingBird model '{model.name}' (stored: "
        f"{known}): name a recording of the voice, or put one into {model / SPEAKERS_FOLDER}.",
        "speaker",
    )
