"""What an optimized model's folder says of itself: how it was made, and the checksums of what was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.errors import SpeechError
from ultimate_rvc.files import atomic_path, file_hash
from ultimate_rvc.speech.mockingbird.optimization.settings import ModelOptimization

RECORD_NAME = "optimization.json"
FORMAT = 1


@dataclass(frozen=True)
class ModelRecord:
    """How a model was optimized, and the SHA-256 of each file by its name."""

    optimization: ModelOptimization
    files: Mapping[str, str]


def write_record(folder: Path, optimization: ModelOptimization) -> None:
    """Write down how the files in ``folder`` were made."""
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir()) if path.is_file()}
    content = {"format": FORMAT, "optimization": optimization.to_dict(), "files": files}
    with atomic_path(folder / RECORD_NAME) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_record(folder: Path) -> ModelRecord | None:
    """How the model in ``folder`` was optimized, or None for one that was not.

    Raises
    ------
    SpeechError
        A file is missing or is not as it was made.
    """
    path = folder / RECORD_NAME
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise SpeechError("it was made by another version")
        record = ModelRecord(ModelOptimization.from_dict(content["optimization"]), dict(content["files"]))
    except SpeechError as error:
        raise SpeechError(f"{path} cannot be used: {error}; optimize the model again.") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SpeechError(f"{path} is damaged; optimize the model again.") from error
    for name, sha256 in record.files.items():
        file = folder / Path(name).name
        if not file.is_file() or file_hash(file) != sha256:
            raise SpeechError(f"{file} is missing or damaged: optimize the model again.")
    return record
