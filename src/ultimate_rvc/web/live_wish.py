"""What a browser says to the socket of the tab Live, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.errors import SettingError
from ultimate_rvc.plain import from_plain, to_plain
from ultimate_rvc.rvc.infer.live_settings import NOT_LIVE
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.web.texts import Texts
from ultimate_rvc.work.foreign import voice_names

SAMPLE = np.dtype("<f4")
MOST_TEXT = 10_000  # letters of a message
MOST_BYTES = 4 * 96_000  # of sound in a message: a second at the highest usual rate
RATES = (8_000, 96_000)

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Wish:
    """What a browser asks for."""

    voice: str
    rate: int
    """Of its sound, in Hz, both ways."""
    settings: Mapping[str, Any]
    """Fields of ``LiveSettings``, nested."""
    record: bool
    texts: Texts
    """In which what goes wrong is told."""

    @classmethod
    def read(cls, given: Mapping[str, Any], texts: Texts) -> Wish:
        """Raise a SettingError for a voice that is not in the library, or what is no wish at all."""
        voice, rate, settings = given.get("voice"), given.get("rate"), given.get("settings") or {}
        if not isinstance(voice, str) or not voice:
            raise SettingError(texts("error.no_voice"))
        if voice not in voice_names():  # a path would be found as well, which is not for a page
            raise SettingError(texts("error.unknown_voice", name=voice))
        if not isinstance(rate, int) or not RATES[0] <= rate <= RATES[1]:
            raise SettingError(
                f"The sample rate {rate} cannot be used; choose 48000 Hz in your system's settings."
            )
        if not isinstance(settings, dict) or not isinstance(settings.get("conversion", {}), dict):
            raise SettingError("The settings and their conversion must be objects with names and values.")
        return cls(voice, rate, settings, record=given.get("record") is True, texts=texts)


def parsed(text: str) -> dict[str, Any]:
    """A message as an object; a SettingError where it is none."""
    try:
        given = json.loads(text) if len(text) <= MOST_TEXT else None
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise SettingError("This message is no JSON object, or too long.")
    return given


def samples(sound: bytes) -> FloatArray:
    """The sound of a message, float32 ``(samples,)`` in [-1, 1]; a SettingError where it is none."""
    if len(sound) > MOST_BYTES or len(sound) % SAMPLE.itemsize:
        raise SettingError("The sound of this message is no float32, or longer than a second.")
    return np.nan_to_num(np.frombuffer(sound, SAMPLE).astype(np.float32)).clip(-1, 1)


def changed(conversion: ConversionSettings, given: object) -> ConversionSettings:
    """``conversion`` with other values of some fields."""
    change = dict(given) if isinstance(given, dict) else {}
    for name in NOT_LIVE:
        change.pop(name, None)
    return from_plain(ConversionSettings, {**to_plain(conversion), **change})
