"""What the files of a voice tell when they are opened."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.voices.files import read_index_header
from ultimate_rvc.voices.finding import VoiceRef, library_voice, own_folder
from ultimate_rvc.voices.locking import changing
from ultimate_rvc.voices.pictures import find_picture
from ultimate_rvc.voices.presets import VoicePreset
from ultimate_rvc.voices.record import (
    OWNERS_PARTS,
    VOICE_JSON,
    VOICE_JSON_FORMAT,
    VoiceRecord,
    find_changes,
    fingerprints,
    forget_stamps,
    read_record,
    write_record,
)

if TYPE_CHECKING:
    from ultimate_rvc.rvc.voice_file.checkpoint import VoiceFile


@dataclass(frozen=True, kw_only=True)
class VoiceDetails:
    """All that is known of a voice once its files were read."""

    name: str
    model_path: Path
    model_bytes: int
    model_sha256: str
    index_path: Path | None
    index_vectors: int | None
    index_dim: int | None
    written_by: str
    """The kind of tool that wrote the model's file."""
    sample_rate: int
    """Of what the voice says, in Hz."""
    version: str
    f0: bool
    """Whether the voice follows a pitch."""
    vocoder: str
    embedder: str
    """The content encoder it was trained with."""
    embedder_recorded: bool
    """False: the file names no encoder, and contentvec is assumed."""
    feature_dim: int
    speakers: int
    speaker_names: dict[str, str]
    pitch_median_hz: float | None
    epoch: int | None
    step: int | None
    info: str | None
    model_name: str | None
    author: str | None
    creation_date: str | None
    picture_path: Path | None
    note: str
    tags: tuple[str, ...]
    preset: VoicePreset
    changes: tuple[str, ...]
    """Which files are no longer those that came into the library, one sentence each."""
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        paths = {
            name: None if path is None else str(path)
            for name, path in vars(self).items()
            if name.endswith("_path")
        }
        lists = {name: list(getattr(self, name)) for name in ("tags", "changes", "warnings")}
        return asdict(self) | paths | lists | {"preset": self.preset.to_json()}


def inspect_voice(ref: VoiceRef) -> VoiceDetails:
    """Open a voice and tell all that its files hold; every byte is read and its SHA-256 computed anew.

    Raises
    ------
    VoiceFileError
        The model cannot be read as a voice.
    """
    from ultimate_rvc.rvc.voice_file.checkpoint import read_voice_file

    described = describe_voice(read_voice_file(ref.model_path))
    header = read_index_header(ref.index_path) if ref.index_path else None
    folder = ref.folder if "/" not in ref.name else None
    record = read_record(folder) if folder is not None else VoiceRecord()
    paths = [path for path in (ref.model_path, ref.index_path) if path is not None]
    forget_stamps(paths)
    changes = find_changes(paths, record)
    warnings = (*described.pop("warnings"), *(each for each in ref.warnings if each not in changes))
    return VoiceDetails(
        name=ref.name,
        model_path=ref.model_path,
        model_bytes=ref.model_path.stat().st_size,
        model_sha256=file_hash(ref.model_path),
        index_path=ref.index_path,
        index_vectors=header.vectors if header else None,
        index_dim=header.dim if header else None,
        picture_path=find_picture(folder) if folder is not None else None,
        note=record.note,
        tags=record.tags,
        preset=record.preset,
        changes=changes,
        warnings=warnings,
        **described,
    )


def refresh_voice(name: str) -> VoiceRef:
    """Read a voice of the library again and take its files as they are now for its own.

    Note, tags and preset stay. A record that could not be read is kept as ``voice.json.damaged``.

    Raises
    ------
    VoiceNotFoundError, VoiceFileError
        There is no such voice, it has no folder of its own, or its model is no voice any more.
    """
    from ultimate_rvc.rvc.voice_file.checkpoint import read_voice_file

    library = voice_models_dir()
    with changing(library, f"Refreshing {name!r}"):
        ref = library_voice(name)
        folder = own_folder(ref)
        described = describe_voice(read_voice_file(ref.model_path))
        record = read_record(folder)
        if not record.values and (folder / VOICE_JSON).exists():
            (folder / VOICE_JSON).replace(folder / f"{VOICE_JSON}.damaged")
        paths = [path for path in (ref.model_path, ref.index_path) if path is not None]
        own = {part: record.values[part] for part in OWNERS_PARTS if part in record.values}
        values = {**record.values, "format": VOICE_JSON_FORMAT, "name": folder.name, **described, **own}
        write_record(folder, values | {"files": fingerprints(paths)})
    found = library_voice(name)
    return replace(found, warnings=(*described["warnings"], *found.warnings))


def describe_voice(voice: VoiceFile) -> dict[str, Any]:
    """What a voice is, as plain values: the part of ``voice.json`` that comes from the model."""
    metadata = voice.metadata
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
