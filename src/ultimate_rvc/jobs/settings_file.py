"""What a named settings file says of covers and conversions: its part ``cover``, beside the switches.

``URVC_CONFIG=evening`` names ``configs/evening.yaml``. Its switches are read by
:mod:`ultimate_rvc.rvc.infer.optimization.config`; ``cover`` holds fields of ``CoverSettings`` as jobs
take them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.errors import SettingError
from ultimate_rvc.jobs.plain import from_plain, to_plain
from ultimate_rvc.rvc.infer.optimization.config import COVER_PART, FILE_VARIABLE, read_settings_file

# How is said by the switches, and where one cover goes is no matter of all of them.
LEFT_OUT = ("cover.device", "cover.optimization", "cover.output_path")


def cover_settings(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The part ``cover`` of the settings file that ``URVC_CONFIG`` names, checked; empty without one.

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
    given = content.get(COVER_PART) or {}
    try:
        checked_cover(given)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None
    return dict(given)


def checked_cover(given: object) -> dict[str, Any]:
    """All settings of a cover from some of them, those left out with their defaults, as plain values.

    Raises
    ------
    SettingError
        A key is none, or a value is outside its range.
    """
    return cover_part(from_plain(CoverSettings, given, COVER_PART, leave_out=LEFT_OUT))


def cover_part(settings: CoverSettings) -> dict[str, Any]:
    """The fields that a settings file holds, as plain values."""
    return {
        name: value for name, value in to_plain(settings).items() if f"{COVER_PART}.{name}" not in LEFT_OUT
    }
