"""Where the folders of LLASA are: models, adapters, the codec, and recordings to read like.

They are the user's, below ``models/speech/llasa``, each in the form that transformers and peft write. Which is
which, their own files say.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ultimate_rvc.audio.found import audio_files
from ultimate_rvc.errors import SpeechError
from ultimate_rvc.paths import models_dir
from ultimate_rvc.speech.llasa.settings import LlasaSettings

RECORDINGS = "recordings"  # folder of recordings that are speakers by their names
CODEC_TYPE = "xcodec2"
LICENCE = "CC-BY-NC-4.0"
WAY_OUT = (
    "get the folders HKUSTAudio/Llasa-1B and HKUSTAudio/xcodec2-hf from huggingface.co (their licence, "
    f"{LICENCE}, forbids commercial use) into models/speech/llasa; transformers 5.23 or later is needed too"
)


class FolderKind(StrEnum):
    MODEL = "model"
    ADAPTER = "adapter"
    CODEC = "codec"


@dataclass(frozen=True)
class Reader:
    """The folders that read: a model, and the adapter that changes it."""

    model: Path
    adapter: Path | None = None


def llasa_dir() -> Path:
    """``models/speech/llasa``, which may not be there."""
    return models_dir() / "speech" / "llasa"


def is_here() -> bool:
    """Whether transformers has XCodec2, and a model and a codec can be found."""
    settings = LlasaSettings.from_env()
    has_model = settings.model is not None or any(True for _ in named_folders(FolderKind.MODEL))
    return codec_is_known() and has_model and _codec_folder(settings.codec) is not None


def codec_is_known() -> bool:
    """Whether the transformers that is installed has XCodec2; found out without importing it."""
    found = importlib.util.find_spec("transformers")
    return (
        found is not None
        and found.origin is not None
        and (Path(found.origin).parent / "models" / CODEC_TYPE).is_dir()
    )


def kind_of(folder: Path) -> FolderKind | None:
    """What a folder holds, by its own files; None where it is nothing of LLASA's."""
    if (folder / "adapter_config.json").is_file():
        return FolderKind.ADAPTER
    model_type = _json(folder / "config.json").get("model_type")
    if model_type is None:
        return None
    return FolderKind.CODEC if model_type == CODEC_TYPE else FolderKind.MODEL


def named_folders(kind: FolderKind) -> Iterator[Path]:
    """The folders of a kind below :func:`llasa_dir`, by name."""
    if llasa_dir().is_dir():
        yield from (path for path in sorted(llasa_dir().iterdir()) if path.is_dir() and kind_of(path) is kind)


def named_recordings() -> list[Path]:
    """Recordings that are speakers by their names; each has its words beside it."""
    folder = llasa_dir() / RECORDINGS
    return (
        [path for path in audio_files(folder) if transcript_path(path).is_file()] if folder.is_dir() else []
    )


def transcript_path(recording: Path) -> Path:
    return recording.with_suffix(".txt")


def find_codec(asked: str | None) -> Path:
    """The codec's folder: the one asked for, or the first below :func:`llasa_dir`.

    Raises
    ------
    SpeechError
        There is none, or it is something else; or transformers cannot read it.
    """
    if not codec_is_known():
        raise SpeechError(
            "The installed transformers has no XCodec2, which LLASA speaks through: transformers 5.23 has it; "
            "Intel Macs have no such version."
        )
    folder = _codec_folder(asked)
    if folder is None:
        raise SpeechError(f"{asked or 'The codec of LLASA'} is not there or is no XCodec2: {WAY_OUT}.")
    return folder


def find_reader(name: str | None) -> Reader:
    """The model, or the adapter with its model, that has a name or is a folder; the first model without one.

    Raises
    ------
    SpeechError
        There is none of that name, or the model of an adapter is not here.
    """
    if name is None:
        first = next(named_folders(FolderKind.MODEL), None)
        if first is None:
            raise SpeechError(f"There is no model of LLASA: {WAY_OUT}.")
        return Reader(first)
    folder = _named_or_path(name)
    kind = kind_of(folder)
    if kind is FolderKind.MODEL:
        return Reader(folder)
    if kind is FolderKind.ADAPTER:
        return Reader(_base_of(folder), folder)
    raise SpeechError(
        f"{name} is no model or adapter of LLASA: it has neither config.json nor adapter_config.json."
    )


def _base_of(adapter: Path) -> Path:
    """The model that an adapter was trained on: where its file says, else of the same name here."""
    base = str(_json(adapter / "adapter_config.json").get("base_model_name_or_path") or "")
    for folder in (Path(base), llasa_dir() / Path(base).name):
        if base and kind_of(folder) is FolderKind.MODEL:
            return folder
    raise SpeechError(
        f"The adapter {adapter} belongs to the model {base or '(it does not say which)'}, which is not here: put "
        f"that model's folder into {llasa_dir()}."
    )


def _codec_folder(asked: str | None) -> Path | None:
    if asked is None:
        return next(named_folders(FolderKind.CODEC), None)
    folder = _named_or_path(asked)
    return folder if kind_of(folder) is FolderKind.CODEC else None


def _named_or_path(name: str) -> Path:
    named = llasa_dir() / name
    return named if named.is_dir() else Path(name).expanduser().absolute()


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
