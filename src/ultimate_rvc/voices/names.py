"""Names of voices: what a folder of the library may be called."""

from __future__ import annotations

import unicodedata

from ultimate_rvc.errors import SettingError

MAX_NAME_BYTES = 200  # file systems allow 255 for a name, and suffixes such as .safetensors come on top
_NEVER_IN_A_NAME = frozenset('/\\:*?"<>|')


def checked_name(name: str) -> str:
    """``name`` in the one form in which names are stored and compared (Unicode NFC).

    macOS hands names back decomposed, so the same word would not find itself otherwise.

    Raises
    ------
    SettingError
        The name is empty, looks like a path, or could not be a folder on every system.
    """
    normal = same_form(name)
    if any(letter in _NEVER_IN_A_NAME for letter in normal):
        raise SettingError(f'{name!r} is no name for a voice: leave out the characters / \\ : * ? " < > |')
    if not normal.strip() or normal != normal.strip() or normal.startswith(".") or normal.endswith("."):
        raise SettingError(
            f"{name!r} is no name for a voice: it must not be empty, start or end with a space or a dot."
        )
    if any(not letter.isprintable() for letter in normal):
        raise SettingError(f"{name!r} is no name for a voice: it has characters that cannot be printed.")
    if len(normal.encode("utf-8")) > MAX_NAME_BYTES:
        raise SettingError(
            f"{normal[:40]!r}... is no name for a voice: it has more than {MAX_NAME_BYTES} bytes; shorten it."
        )
    return normal


def same_form(name: str) -> str:
    """``name`` in Unicode's composed form, for comparing names."""
    return unicodedata.normalize("NFC", name)
