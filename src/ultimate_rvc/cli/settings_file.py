"""The settings file that ``URVC_CONFIG`` names, below what the command line asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from typing import Any, get_type_hints

from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.plain import from_plain, merged
from ultimate_rvc.switches import COVER_PART, TRAIN_PART
from ultimate_rvc.work.requests import TrainParts
from ultimate_rvc.work.settings_file import LEFT_OUT, PARTS, file_part, plain_part

CONVERSION = "conversion"
# Options of song-cover with the part of CoverSettings that they decide, where that has another name.
DECIDES = {
    "index": "index_path",
    "separation_model": "stems.vocals_model",
    "split_backing": "stems.split_backing",
    "backing_separation_model": "stems.backing_model",
    "dereverb": "stems.remove_reverb",
    "dereverb_model": "stems.reverb_model",
    "convert_backing": "backing",
    "room_size": "effects.room_size",
    "wet_level": "effects.wet_level",
    "dry_level": "effects.dry_level",
    "damping": "effects.damping",
    "bitrate": "bitrate_kbps",
    "cookiefile": "source.cookiefile",
    "max_minutes": "source.max_minutes",
}


def conversion_settings() -> dict[str, Any]:
    """Fields of ``ConversionSettings`` that the settings file decides.

    Raises
    ------
    SettingError
        The file is missing or wrong.
    """
    return _decided(COVER_PART, CONVERSION)


def training_settings(kind: type[Any]) -> dict[str, Any]:
    """Fields of a dataclass of ``TrainParts`` that the settings file decides.

    Raises
    ------
    SettingError
        The file is missing or wrong.
    """
    (group,) = (name for name, hint in get_type_hints(TrainParts).items() if hint is kind)
    return _decided(TRAIN_PART, group)


def _decided(part: str, group: str) -> dict[str, Any]:
    given = file_part(part).get(group) or {}
    read = from_plain(get_type_hints(PARTS[part])[group], given, group)
    return {name: getattr(read, name) for name in given}


def with_file(settings: CoverSettings, decided: Set[str]) -> CoverSettings:
    """``settings`` of ``song-cover`` with what the file says beyond its ``decided`` parameters.

    The conversion is left alone: it has been filled in before, as the voice's preset comes after the file.
    """
    asked = {DECIDES.get(name, name) for name in decided} | {CONVERSION}
    if "output" in decided:  # it says name and format
        asked |= {"output_name", "output_format"}
    given = _without(file_part(COVER_PART), asked)
    if not given:
        return settings
    all_given = merged(plain_part(COVER_PART, settings), given)
    filled = from_plain(CoverSettings, all_given, COVER_PART, leave_out=LEFT_OUT)
    return replace(
        filled,
        conversion=settings.conversion,
        device=settings.device,
        optimization=settings.optimization,
        output_path=settings.output_path,
    )


def _without(given: Mapping[str, Any], asked: Set[str], where: str = "") -> dict[str, Any]:
    return dict(_kept(given, asked, where))


def _kept(given: Mapping[str, Any], asked: Set[str], where: str) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if (dotted := f"{where}{name}") in asked:
            continue
        yield name, _without(value, asked, f"{dotted}.") if isinstance(value, Mapping) else value
