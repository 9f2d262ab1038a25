"""What an owner says about a voice: note, tags, preset, picture. All is kept in the voice's folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.voices.cards import VoiceCard, voice_card
from ultimate_rvc.voices.finding import library_voice, own_folder
from ultimate_rvc.voices.locking import changing
from ultimate_rvc.voices.pictures import remove_pictures, write_picture
from ultimate_rvc.voices.presets import VoicePreset
from ultimate_rvc.voices.record import change_record, checked_note, checked_tags, read_record


def set_note(name: str, note: str) -> VoiceCard:
    """Write a note of at most 4000 letters to a voice; an empty one removes it.

    Raises
    ------
    SettingError
        It is too long.
    VoiceNotFoundError, VoiceFileError
        There is no such voice in the library, or it has no folder of its own.
    """
    return _change(name, {"note": checked_note(note) or None})


def set_tags(name: str, tags: Iterable[str]) -> VoiceCard:
    """Give a voice these tags and no others.

    Raises
    ------
    SettingError
        A tag is empty, longer than 40 letters or has a comma, or there are more than 30.
    VoiceNotFoundError, VoiceFileError
        As :func:`set_note`.
    """
    return _change(name, {"tags": list(checked_tags(tags)) or None})


def change_tags(name: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> VoiceCard:
    """Add tags to a voice and take others off it, without regard to case; errors as :func:`set_tags`."""
    gone = {tag.strip().casefold() for tag in remove}
    library = voice_models_dir()
    with changing(library, f"Tagging {name!r}"):
        folder = own_folder(library_voice(name))
        kept = [tag for tag in read_record(folder).tags if tag.casefold() not in gone]
        change_record(folder, {"tags": list(checked_tags([*kept, *add])) or None})
    return voice_card(name)


def set_preset(name: str, preset: VoicePreset) -> VoiceCard:
    """Keep default settings with a voice, in place of those it has; an empty preset removes them.

    Errors are those of :func:`set_note`; values were checked when ``preset`` was made.
    """
    return _change(name, {"preset": preset.to_json() or None})


def change_preset(name: str, **changes: Any) -> VoiceCard:
    """Change some settings of a voice's preset and keep the rest; ``None`` removes one.

    Parameters
    ----------
    name : str
        Of a voice of the library.
    **changes
        Fields of :class:`~ultimate_rvc.voices.presets.VoicePreset`.

    Raises
    ------
    SettingError
        A value is outside its range.
    VoiceNotFoundError, VoiceFileError
        As :func:`set_note`.
    """
    library = voice_models_dir()
    with changing(library, f"Changing the preset of {name!r}"):
        folder = own_folder(library_voice(name))
        preset = VoicePreset(**{**read_record(folder).preset.values(), **changes})
        change_record(folder, {"preset": preset.to_json() or None})
    return voice_card(name)


def set_picture(name: str, source: Path | str | None) -> VoiceCard:
    """Give a voice a picture, or take it away with ``None``.

    Parameters
    ----------
    name : str
        Of a voice of the library.
    source : path or None
        A PNG, JPEG or WebP file of at most 20 MB and 50 million pixels; it is copied, at most 1024
        pixels wide and high.

    Raises
    ------
    SettingError
        The file is no such picture.
    VoiceNotFoundError, VoiceFileError
        As :func:`set_note`.
    """
    library = voice_models_dir()
    with changing(library, f"Giving {name!r} a picture"):
        folder = own_folder(library_voice(name))
        if source is None:
            remove_pictures(folder)
        else:
            write_picture(Path(source).expanduser(), folder)
    return voice_card(name)


def _change(name: str, changes: Mapping[str, Any]) -> VoiceCard:
    library = voice_models_dir()
    with changing(library, f"Changing {name!r}"):
        change_record(own_folder(library_voice(name)), changes)
    return voice_card(name)
