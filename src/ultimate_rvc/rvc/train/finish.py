"""The voice that a training leaves in the library: a folder with model, index and ``voice.json``."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ultimate_rvc.errors import TrainingError
from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.rvc.checkpoint import VoiceMetadata, read_voice_file
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.settings import TrainingSettings
from ultimate_rvc.rvc.train.tables import DataDescription

VOICE_JSON = "voice.json"
VOICE_JSON_FORMAT = 1
UNFINISHED_PREFIX = ".training-"  # hidden, so that the library does not list it


@dataclass(frozen=True)
class FinishedVoice:
    """Where the parts of a voice lie."""

    folder: Path
    model: Path
    index: Path | None
    record: Path


def check_voice_name(name: str) -> None:
    """Raise TrainingError when the library has a voice of this name that no training made."""
    folder = voice_models_dir() / name
    if folder.exists() and not _is_trained(folder):
        raise TrainingError(
            f"A voice named {name!r} is in {voice_models_dir()} already, and no training made it: delete it "
            "there, or train under another name."
        )


def finish_voice(
    folder: TrainingFolder,
    description: DataDescription,
    settings: TrainingSettings,
    weights: Path,
    training: Mapping[str, Any],
) -> FinishedVoice:
    """Put the voice in the library, in place of what an earlier run of this training left there.

    Parameters
    ----------
    folder : TrainingFolder
        Whose name the voice gets.
    description : DataDescription
        Of the data.
    settings : TrainingSettings
    weights : Path
        The voice file.
    training : mapping
        How it was trained, as plain values for ``voice.json``.

    Raises
    ------
    TrainingError
        It cannot be written there.
    """
    check_voice_name(folder.name)
    library = voice_models_dir()
    unfinished = library / f"{UNFINISHED_PREFIX}{secrets.token_hex(6)}"
    try:
        unfinished.mkdir(parents=True)
        shutil.copyfile(weights, unfinished / f"{folder.name}.pth")
        metadata = read_voice_file(weights).metadata
        record = {
            "format": VOICE_JSON_FORMAT,
            "name": folder.name,
            **describe(metadata),
            **_describe_data(description),
            "training": {**training, "finished": datetime.now(UTC).isoformat(timespec="seconds")},
            "files": {path.name: _fingerprint(path) for path in sorted(unfinished.iterdir())},
        }
        text = json.dumps(record, ensure_ascii=False, indent=2) + "\n"
        (unfinished / VOICE_JSON).write_text(text, encoding="utf-8")
        _exchange(unfinished, library / folder.name)
    except OSError as error:
        raise TrainingError(
            f"The voice cannot be written to {library} ({error.strerror}); it lies in {weights}."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    final = library / folder.name
    index = final / f"{folder.name}.index"
    return FinishedVoice(
        folder=final,
        model=final / f"{folder.name}.pth",
        index=index if index.is_file() else None,
        record=final / VOICE_JSON,
    )


def describe(metadata: VoiceMetadata) -> dict[str, Any]:
    """The part of ``voice.json`` that comes from the model; the same keys as for imported voices."""
    return {
        "written_by": str(metadata.dialect),
        "sample_rate": metadata.sample_rate,
        "version": str(metadata.version),
        "f0": metadata.has_f0,
        "vocoder": str(metadata.vocoder),
        "embedder": str(metadata.embedder),
        "embedder_recorded": metadata.embedder_recorded,
        "feature_dim": metadata.config.phone_dim,
        "speakers": len(metadata.speakers),
        "speaker_names": {str(speaker.id): speaker.name for speaker in metadata.speakers if speaker.name},
        "pitch_median_hz": metadata.f0_median_hz,
        "epoch": metadata.epoch,
        "step": metadata.step,
        "info": metadata.info,
        "model_name": metadata.model_name,
        "author": metadata.author,
        "creation_date": metadata.creation_date,
        "warnings": list(metadata.warnings),
    }


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


def _exchange(unfinished: Path, final: Path) -> None:
    """Rename ``unfinished`` to ``final``; what was there is removed afterwards."""
    before = unfinished.with_name(f"{unfinished.name}-before")
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
