"""Which files hold audio, by their names, and which of a folder do."""

from __future__ import annotations

from pathlib import Path

LOSSLESS_SUFFIXES = (".wav", ".w64", ".aif", ".aiff", ".caf", ".flac", ".ape", ".wv")
LOSSY_SUFFIXES = (".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma")
VIDEO_SUFFIXES = (".webm", ".mka", ".mp4", ".mkv", ".mov")
# What a folder is searched for; a file that is named outright may be anything with audio in it.
AUDIO_SUFFIXES = frozenset(LOSSLESS_SUFFIXES + LOSSY_SUFFIXES + VIDEO_SUFFIXES)


def audio_files(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The audio files in ``folder``, and below it if ``recursive``, in the order of their paths.

    Hidden files and folders are left out, among them the ``._*`` companions that macOS writes.
    """
    return sorted(
        path
        for path in (folder.rglob("*") if recursive else folder.iterdir())
        if path.suffix.lower() in AUDIO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
