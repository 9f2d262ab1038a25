"""What the files of a voice tell when they are opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.files import file_hash
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.plain import to_plain
from ultimate_rvc.voices.files import read_index_header
from ultimate_rvc.voices.finding import VoiceRef, library_voice, own_folder
from ultimate_rvc.voices.locking import changing
from ultimate_rvc.voices.pictures import find_picture
from ultimate_rvc.voices.presets import VoicePreset
from ultimate_rvc.voices.record import (
    OWNERS_PARTS,
    VOICE_JSON,
    VOICE_JSON_FORMAT,
    find_changes,
    fingerprints,
    forget_stamps,
    read_record,
    write_record,
)

if TYPE_CHECKING:
    from ultimate_rvc.rvc.voice_file.describe import VoiceMetadata


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
    metadata: VoiceMetadata
    """All that the model's file tells."""
    picture_path: Path | None
    note: str
    tags: tuple[str, ...]
    preset: VoicePreset
    changes: tuple[str, ...]
    """Which files are no longer those that came into the library, one sentence each."""
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        plain: dict[str, Any] = {}
        for name, part in vars(self).items():
            plain |= part.to_json() if name == "metadata" else {name: to_plain(part)}
        return plain | {"preset": self.preset.to_json()}


def inspect_voice(ref: VoiceRef) -> VoiceDetails:
    """Open a voice and tell all that its files hold; every byte is read and its SHA-256 computed again.

    Raises
    ------
    VoiceFileError
        The model cannot be read as a voice.
    """
    from ultimate_rvc.rvc.voice_file.read import read_voice_metadata

    metadata = read_voice_metadata(ref.model_path)
    header = read_index_header(ref.index_path) if ref.index_path else None
    record = ref.record
    forget_stamps(ref.files)
    changes = find_changes(ref.files, record)
    warnings = (*metadata.warnings, *(each for each in ref.warnings if each not in changes))
    return VoiceDetails(
        name=ref.name,
        model_path=ref.model_path,
        model_bytes=ref.model_path.stat().st_size,
        model_sha256=file_hash(ref.model_path),
        index_path=ref.index_path,
        index_vectors=header.vectors if header else None,
        index_dim=header.dim if header else None,
        metadata=metadata,
        picture_path=find_picture(ref.own_folder),
        note=record.note,
        tags=record.tags,
        preset=record.preset,
        changes=changes,
        warnings=warnings,
    )


def refresh_voice(name: str) -> VoiceRef:
    """Read a voice of the library again and take its files as they are now for its own.

    Note, tags and preset stay. A record that could not be read is kept as ``voice.json.damaged``.

    Raises
    ------
    VoiceNotFoundError, VoiceFileError
        There is no such voice, it has no folder of its own, or its model is no voice any more.
    """
    from ultimate_rvc.rvc.voice_file.read import read_voice_metadata

    library = voice_models_dir()
    with changing(library, f"Refreshing {name!r}"):
        ref = library_voice(name)
        folder = own_folder(ref)
        described = read_voice_metadata(ref.model_path).to_json()
        record = read_record(folder)
        if not record.values and (folder / VOICE_JSON).exists():
            (folder / VOICE_JSON).replace(folder / f"{VOICE_JSON}.damaged")
        own = {part: record.values[part] for part in OWNERS_PARTS if part in record.values}
        values = {**record.values, "format": VOICE_JSON_FORMAT, "name": folder.name, **described, **own}
        write_record(folder, values | {"files": fingerprints(ref.files)})
    found = library_voice(name)
    return replace(found, warnings=(*described["warnings"], *found.warnings))
