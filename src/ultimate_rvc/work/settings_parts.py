"""What a named settings file says of covers and trainings, and what a request takes from it.

The parts ``cover`` and ``train`` hold fields of their classes as requests take them. What a person asks for goes
before the file, the file before the voice's preset, the preset before the usual defaults.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, get_type_hints

from ultimate_rvc import settings_files
from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.errors import SettingError
from ultimate_rvc.plain import from_plain, merged, to_plain
from ultimate_rvc.settings_files import COVER_PART, FILE_VARIABLE, TRAIN_PART
from ultimate_rvc.switches import resolve_config
from ultimate_rvc.voices.names import checked_name
from ultimate_rvc.work.requests import TrainParts

PARTS: Mapping[str, type[Any]] = {COVER_PART: CoverSettings, TRAIN_PART: TrainParts}
# How is said by the switches, and where one cover goes is no matter of all of them.
LEFT_OUT = ("cover.device", "cover.optimization", "cover.output_path", "cover.overwrite")


def file_part(part: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A part of the settings file that ``URVC_CONFIG`` names, checked; empty without one.

    Raises
    ------
    SettingError
        There is no such file; a key is none, or a value is outside its range: both are named.
    """
    environment = os.environ if environment is None else environment
    name = environment.get(FILE_VARIABLE)
    if not name:
        return {}
    path, content = settings_files.read(name)
    given = content.get(part) or {}
    try:
        checked_part(part, given)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None
    return dict(given)


def checked_part(part: str, given: object) -> dict[str, Any]:
    """All settings of a part from some of them, those left out with their defaults, as plain values.

    Raises
    ------
    SettingError
        A key is none, or a value is outside its range.
    """
    settings = from_plain(PARTS[part], given, part, leave_out=LEFT_OUT)
    return {name: value for name, value in to_plain(settings).items() if f"{part}.{name}" not in LEFT_OUT}


def cover_for(voice: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``CoverSettings`` for a cover by ``voice``: what is asked for, the file's, the preset's.

    Raises
    ------
    UltimateRVCError
        The settings file is wrong, or there is no such voice.
    """
    filed = file_part(COVER_PART)
    if asked.get("output_path") is not None:  # it says name and format
        filed = {name: value for name, value in filed.items() if name not in ("output_name", "output_format")}
    cover = merged(filed, asked)
    return {**cover, "conversion": with_preset(voice, cover.get("conversion") or {})}


def conversion_for(voice: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``ConversionSettings`` for a conversion by ``voice``, as :func:`cover_for`."""
    return with_preset(voice, merged(file_part(COVER_PART).get("conversion") or {}, asked))


def with_preset(voice: str, conversion: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``ConversionSettings`` with those of the voice's preset that were not asked for.

    Raises
    ------
    VoiceNotFoundError
        There is no such voice.
    """
    from ultimate_rvc.voices.library import find_voice

    return find_voice(voice).preset.fill(conversion)


def training_settings(kind: type[Any]) -> dict[str, Any]:
    """Fields of a class of ``TrainParts`` that the settings file decides.

    Raises
    ------
    SettingError
        The file is missing or wrong.
    """
    (group,) = (name for name, hint in get_type_hints(TrainParts).items() if hint is kind)
    given = file_part(TRAIN_PART).get(group) or {}
    read = from_plain(kind, given, group)
    return {name: getattr(read, name) for name in given}


def load(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The switches that the file of this name decides, and its parts by name.

    Raises
    ------
    SettingError
        There is no such file; something in it is no key or no choice, or outside its range.
    """
    if name not in settings_files.names():  # a name of the list, never a path
        raise SettingError(f"There is no settings file {name!r}.")
    environment = {FILE_VARIABLE: name}
    resolved = resolve_config(environment=environment)
    origin = f"{FILE_VARIABLE}={name}"
    switches = {switch.name: switch.value for switch in resolved.switches if switch.origin == origin}
    return switches, {part: file_part(part, environment) for part in PARTS}


def save(name: str, switches: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write switches and parts as a settings file, in place of one of that name.

    Raises
    ------
    SettingError
        The name is none, or that of a file that ships; something is no choice or outside its range.
    """
    name = checked_name(name.strip())
    resolve_config(switches)
    settings_files.write(
        name, {**switches, **{part: checked_part(part, parts.get(part, {})) for part in PARTS}}
    )
