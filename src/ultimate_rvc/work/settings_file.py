"""What a named settings file says of covers and trainings: its parts ``cover`` and ``train``.

``URVC_CONFIG=evening`` names ``configs/evening.yaml``. Its switches are read by
:mod:`ultimate_rvc.switches`; the parts hold fields of their dataclasses as jobs
take them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.errors import SettingError
from ultimate_rvc.plain import from_plain, to_plain
from ultimate_rvc.switches import (
    COVER_PART,
    FILE_VARIABLE,
    TRAIN_PART,
    read_settings_file,
)
from ultimate_rvc.work.requests import TrainParts

PARTS: Mapping[str, type[Any]] = {COVER_PART: CoverSettings, TRAIN_PART: TrainParts}
# How is said by the switches, and where one cover goes is no matter of all of them.
LEFT_OUT = ("cover.device", "cover.optimization", "cover.output_path")


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
    path, content = read_settings_file(name)
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
    return plain_part(part, from_plain(PARTS[part], given, part, leave_out=LEFT_OUT))


def plain_part(part: str, settings: Any) -> dict[str, Any]:
    """The fields that a settings file holds, as plain values."""
    return {name: value for name, value in to_plain(settings).items() if f"{part}.{name}" not in LEFT_OUT}
