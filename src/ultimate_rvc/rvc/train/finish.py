"""The voice that a training leaves in the library: a folder with model, index and ``voice.json``."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ultimate_rvc.errors import TrainingError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.index import build_index
from ultimate_rvc.rvc.train.settings import TrainingSettings
from ultimate_rvc.rvc.train.tables import DataDescription
from ultimate_rvc.rvc.voice_file.read import read_voice_file

VOICE_JSON = "voice.json"
VOICE_JSON_FORMAT = 1
WRITER = "ultimate-rvc-fast"
OWNERS_PARTS = ("note", "tags", "preset")  # of voice.json; the library lets its owner change them
PICTURES = "picture.*"
UNFINISHED_PREFIX = ".training-"  # hidden, so that the library does not list it


@dataclass(frozen=True)
class FinishedVoice:
    """Where the parts of a voice lie."""

    folder: Path
    model: Path
    index: Path
    record: Path


def check_voice_name(name: str) -> None:
    """Raise TrainingError when the library has a voice of this name that no training made."""
    folder = voice_models_dir() / name
    if folder.exists() and not _is_trained(folder):
        raise TrainingError(
            f"A voice named {name!r} is in {voice_models_dir()} already, and no training made it: delete it "
            "there, or train under another name."
        )


@dataclass(frozen=True)
class VoiceParts:
    """What a voice is made of: its model's file, the data it was trained on, how it was trained.

    ``features`` (frames, phone_dim) are those of all pieces at 50 Hz; ``training`` plain values for
    ``voice.json``.
    """

    weights: Path
    description: DataDescription
    features: NDArray[np.float32]
    training: Mapping[str, Any]


def finish_voice(
    folder: TrainingFolder,
    parts: VoiceParts,
    settings: TrainingSettings,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> FinishedVoice:
    """Put the voice in the library, in place of what an earlier run of this training left there.

    Parameters
    ----------
    folder : TrainingFolder
        Whose name the voice gets.
    parts : VoiceParts
    settings : TrainingSettings
        Of which the kind of index and the seed count here.
    device : torch.device or str
        Where the index is computed.
    progress : Progress, optional
        Hears of the index, which takes the time.

    Raises
    ------
    TrainingError
        It cannot be written there.
    """
    check_voice_name(folder.name)
    library = voice_models_dir()
    unfinished = _workplace(library, folder.name)
    try:
        unfinished.mkdir(parents=True)
        shutil.copyfile(parts.weights, unfinished / f"{folder.name}.pth")
        index = unfinished / f"{folder.name}.index"
        algorithm, seed = settings.index_algorithm, settings.seed
        build_index(parts.features, index, algorithm, device=device, seed=seed, progress=progress)
        _write_record(unfinished, folder.name, parts, _owners_parts(library / folder.name))
        for picture in (library / folder.name).glob(PICTURES):
            shutil.copyfile(picture, unfinished / picture.name)
        _exchange(unfinished, library / folder.name)
    except OSError as error:
        raise TrainingError(
            f"The voice cannot be written to {library} ({error.strerror}); its model lies in {parts.weights}."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    final = library / folder.name
    return FinishedVoice(
        folder=final,
        model=final / f"{folder.name}.pth",
        index=final / f"{folder.name}.index",
        record=final / VOICE_JSON,
    )


def _owners_parts(folder: Path) -> dict[str, Any]:
    """What a person wrote about the voice that an earlier run of this training left there."""
    try:
        record = json.loads((folder / VOICE_JSON).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {part: record[part] for part in OWNERS_PARTS if part in record} if isinstance(record, dict) else {}


def _write_record(folder: Path, name: str, parts: VoiceParts, owners: Mapping[str, Any]) -> None:
    """Write ``voice.json`` for the files that lie in ``folder``."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = {
        "format": VOICE_JSON_FORMAT,
        "name": name,
        **read_voice_file(parts.weights).metadata.to_json(),
        "written_by": WRITER,
        **_describe_data(parts.description),
        **owners,
        "training": {**parts.training, "finished": now},
        "files": {path.name: _fingerprint(path) for path in sorted(folder.iterdir())},
    }
    text = json.dumps(record, ensure_ascii=False, indent=2) + "\n"
    (folder / VOICE_JSON).write_text(text, encoding="utf-8")


def _describe_data(description: DataDescription) -> dict[str, Any]:
    percentiles = description.f0_percentiles_hz
    return {
        "embedder_sha256": description.embedder_identity,
        "pitch_percentiles_hz": None
        if percentiles is None
        else dict(zip(("5", "50", "95"), percentiles, strict=True)),
        "f0_method": description.f0_method,
        "dataset_seconds": round(description.dataset_seconds, 2),
    }


def _workplace(library: Path, name: str) -> Path:
    """Where the voice is put together: a name of its own, so that what a killed run left there is found."""
    folder = library / f"{UNFINISHED_PREFIX}{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    before = _before(folder)
    if before.exists() and not (library / name).exists():
        before.rename(library / name)
    for leftover in (folder, before):
        shutil.rmtree(leftover, ignore_errors=True)
    return folder


def _before(unfinished: Path) -> Path:
    """Where the voice that is being replaced waits for a moment."""
    return unfinished.with_name(f"{unfinished.name}-before")


def _exchange(unfinished: Path, final: Path) -> None:
    """Rename ``unfinished`` to ``final``; what was there is removed afterwards."""
    before = _before(unfinished)
    if final.exists():
        final.rename(before)
    try:
        unfinished.rename(final)
    except OSError:
        if before.exists():
            before.rename(final)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _is_trained(folder: Path) -> bool:
    with suppress(OSError, ValueError):
        record = json.loads((folder / VOICE_JSON).read_text(encoding="utf-8"))
        return isinstance(record, dict) and "training" in record
    return False


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_hash(path)}
