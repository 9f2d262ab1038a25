"""Which files of a folder are audio."""

from __future__ import annotations

from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    [
        ".wav",
        ".flac",
        ".mp3",
        ".ogg",
        ".opus",
        ".m4a",
        ".aac",
        ".wma",
        ".aiff",
        ".aif",
        ".webm",
        ".mp4",
        ".mkv",
        ".mov",
        ".caf",
    ]
)


def audio_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
