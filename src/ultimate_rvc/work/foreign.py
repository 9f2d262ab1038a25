"""Settings that somebody elsewhere sent: they open and replace nothing of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultimate_rvc.assets.links import is_link
from ultimate_rvc.errors import SettingError, VoiceNotFoundError
from ultimate_rvc.settings import walk
from ultimate_rvc.work.kinds import KINDS
from ultimate_rvc.work.requests import DEMO_SOURCE

if TYPE_CHECKING:
    from ultimate_rvc.voices.library import VoiceRef

# Wherever they stand, the program takes these as files or folders, or as a name of one.
PATHS = {entry.name for kind in KINDS.values() for _, entry in walk(kind.settings) if entry.is_path}
SOURCE = "source"  # may be a link
VOICE = "voice"  # the engine would take a file as well
OVERWRITE = "overwrite"
# A name, or for engines that read like a recording, a file; so are separation models.
NAMES = {"speaker"} | {
    entry.name for kind in KINDS.values() for _, entry in walk(kind.settings) if entry.is_open
}
NOT_FOR_OTHERS = {OVERWRITE, "allow_local", "consent"}


@dataclass(frozen=True)
class Unwanted:
    """A setting that others may not send."""

    name: str
    is_path: bool
    """Whether it names a file of this machine; else it is for the user of the machine."""


def unwanted(settings: Mapping[str, Any]) -> Iterator[Unwanted]:
    """What in ``settings`` names files of this machine, or is not for others; voices are not looked at."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from unwanted(value)
        elif value in (None, False, [], ()) or name == VOICE:
            continue
        elif name in NOT_FOR_OTHERS:
            yield Unwanted(name, is_path=False)
        elif name == SOURCE:
            if value != DEMO_SOURCE and not is_link(str(value)):
                yield Unwanted(name, is_path=True)
        elif name in PATHS or (name in NAMES and _may_be_a_path(str(value))):
            yield Unwanted(name, is_path=True)


def voices_named(settings: Mapping[str, Any]) -> Iterator[str]:
    """Voices that ``settings`` name, at any depth."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from voices_named(value)
        elif name == VOICE and value is not None:
            yield str(value)


def named_voice(name: str | None) -> VoiceRef:
    """The voice of this name in the library or among those that ship; a path names none.

    Raises
    ------
    SettingError, VoiceNotFoundError
        None is named; there is none of that name.
    """
    if not name:
        raise SettingError("voice is missing; name one of the library.", VOICE)
    if (found := next((voice for voice in _voices() if voice.name == name), None)) is None:
        raise VoiceNotFoundError(
            f"There is no voice {name!r} in the library; it has {', '.join(voice_names())}.", VOICE
        )
    return found


def voice_names() -> list[str]:
    """Names of the library, then those that ship with the package."""
    return list(dict.fromkeys(voice.name for voice in _voices()))


def _voices() -> Iterator[VoiceRef]:
    from ultimate_rvc.voices.library import list_voices, packaged_voices

    yield from list_voices()
    yield from packaged_voices()


def refuse_foreign(settings: Mapping[str, Any]) -> None:
    """
    Raises
    ------
    SettingError, VoiceNotFoundError
        For the first setting that others may not send, or a voice that is none of the library.
    """
    for found in unwanted(settings):
        why = "names a file of the server; send the file itself" if found.is_path else "is not for others"
        raise SettingError(f"{found.name} {why}.", found.name)
    for voice in voices_named(settings):
        named_voice(voice)


def _may_be_a_path(name: str) -> bool:
    path = Path(name).expanduser()
    return path.name != name or path.exists()
