"""What a live conversion is asked for: one dataclass for the command line and the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ultimate_rvc.errors import SettingError
from ultimate_rvc.plain import from_plain, nearest, to_plain
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.settings import check, setting, settings_of

FRAME_MS = 10  # all lengths are whole frames of f0
# These look at a whole recording, which a live conversion never has.
NEED_A_RECORDING = ("split_voice", "proposed_pitch", "clean_voice")
# What only they, or the opening of a voice, would read.
NOT_LIVE = (
    *NEED_A_RECORDING,
    *("proposed_pitch_threshold", "clean_strength", "embedder_model", "custom_embedder_model"),
)


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """How a live conversion goes through time, and what it sounds like."""

    block_ms: int = setting(
        250,
        "Audio that is converted at once: shorter answers sooner, longer leaves more time to compute.",
        *(100, 1000), step=FRAME_MS, unit="ms", label="Block",
    )  # fmt: skip
    context_ms: int = setting(
        2500,
        "Audio before a block that is looked at again: more is closer to the conversion of a file, and slower.",
        *(200, 5000), step=100, unit="ms", label="Context",
    )  # fmt: skip
    crossfade_ms: int = setting(
        50,
        "How long blocks fade into one another; it is part of the delay.",
        *(20, 200), step=FRAME_MS, unit="ms", label="Crossfade",
    )  # fmt: skip
    ahead_ms: int = setting(
        0,
        "Audio behind a block that is waited for, so that its end sounds as in a file; it is part of the delay.",
        *(0, 500), step=FRAME_MS, unit="ms", label="Look ahead",
    )  # fmt: skip
    conversion: ConversionSettings = field(default_factory=ConversionSettings)

    def __post_init__(self) -> None:
        check(self)
        for name in ("block_ms", "context_ms", "crossfade_ms", "ahead_ms"):
            if (value := getattr(self, name)) % FRAME_MS:
                raise SettingError(f"{name} is {value}, but must be a multiple of {FRAME_MS}.", name)
        check_live(self.conversion)


def check_live(conversion: ConversionSettings) -> None:
    """A SettingError where a setting needs a recording as a whole."""
    for name in NEED_A_RECORDING:
        if getattr(conversion, name):
            raise SettingError(f"{name} needs a whole recording; switch it off for a live conversion.", name)


def live_settings(given: Mapping[str, Any], conversion: Mapping[str, Any]) -> LiveSettings:
    """The settings from plain values: ``given`` ones, and those of a conversion as files and presets have them.

    What a live conversion does not use of the latter is left out.

    Raises
    ------
    SettingError
        A value is none.
    """
    usable = {name: value for name, value in conversion.items() if name not in NOT_LIVE}
    return from_plain(LiveSettings, {**given, "conversion": usable})


def changed(conversion: ConversionSettings, name: str, text: str) -> ConversionSettings:
    """``conversion`` with one setting as a person types it; several pitch methods are separated by commas.

    Raises
    ------
    SettingError
        There is no such setting, it cannot be changed live, or the value is none.
    """
    known = {key: entry for key, entry in settings_of(ConversionSettings).items() if key not in NOT_LIVE}
    if name not in known:
        raise SettingError(f"There is no setting {name!r} to change; {nearest(name, known)}")
    entry = known[name]
    value: Any = text
    if entry.is_list:
        value = [word.strip() for word in text.split(",")]
    elif entry.kind in (int, float, bool):
        value = _number(text)
    return from_plain(ConversionSettings, {**to_plain(conversion), name: value})


def _number(text: str) -> Any:
    """A number, a truth value, or the text itself, which the check refuses by name."""
    words = {"true": True, "false": False, "on": True, "off": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
