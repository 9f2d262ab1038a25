"""The default settings of one voice: what a conversion uses where nothing else was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ultimate_rvc.choices import F0Method
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.infer.settings import ConversionSettings

PITCH_FIELDS = frozenset({"n_octaves", "n_semitones"})


@dataclass(frozen=True, kw_only=True)
class VoicePreset:
    """Conversion settings kept with a voice, under their names in ``ConversionSettings``.

    ``None`` leaves a setting to its usual default. Values are checked at construction, with the ranges
    and words of ``ConversionSettings``.

    Raises
    ------
    SettingError
        A value is outside its range; the sentence names option, value and range.
    """

    n_semitones: int | None = None
    """Semitones to shift the voice by, -48 to 48."""
    index_rate: float | None = None
    """How far features move to those of the voice's index, 0 to 1."""
    protect_rate: float | None = None
    """Keeps consonants and breath off the index, 0 to 0.5; 0.5 switches it off."""
    f0_methods: tuple[F0Method, ...] | None = None
    """Pitch methods; several give their median."""

    def __post_init__(self) -> None:
        ConversionSettings(**self.values())

    def values(self) -> dict[str, Any]:
        """What is set, by the names of ``ConversionSettings``."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def fill(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """``given`` with the preset where it is silent: what a person asks for always goes first.

        ``given`` are the fields of ``ConversionSettings`` that were asked for, and no others. Who asked for
        octaves or semitones has said how far to shift, so the preset's pitch is left out then.
        """
        own = self.values()
        if PITCH_FIELDS & given.keys():
            own.pop("n_semitones", None)
        return {**own, **given}

    def to_json(self) -> dict[str, Any]:
        """What is set, as plain values."""
        values = self.values()
        if self.f0_methods is not None:
            values["f0_methods"] = [str(method) for method in self.f0_methods]
        return values


def read_preset(stored: object) -> tuple[VoicePreset, tuple[str, ...]]:
    """The preset in a value of JSON, and one sentence for each part of it that cannot be used."""
    if stored is None:
        return VoicePreset(), ()
    if not isinstance(stored, dict):
        return VoicePreset(), ("The preset is not a list of settings; set it again.",)
    preset, problems = VoicePreset(), []
    for name, value in stored.items():
        try:
            part = _read_setting(str(name), value)
            preset = VoicePreset(**{**preset.values(), **part})
        except SettingError as error:
            problems.append(f"The preset's {str(name)[:40]!r} is not used: {error}")
    return preset, tuple(problems)


def _read_setting(name: str, value: object) -> dict[str, Any]:
    if name == "n_semitones" and isinstance(value, int) and not isinstance(value, bool):
        return {name: value}
    if name in ("index_rate", "protect_rate") and _is_number(value):
        return {name: value}
    if name == "f0_methods" and isinstance(value, list) and value:
        unknown = [str(word)[:40] for word in value if word not in list(F0Method)]
        if unknown:
            raise SettingError(f"{unknown[0]!r} is none of {', '.join(F0Method)}.")
        return {name: tuple(F0Method(word) for word in value)}
    if name in VoicePreset.__dataclass_fields__:
        raise SettingError(f"{str(value)[:40]!r} is of the wrong kind.")
    raise SettingError(f"a preset holds {', '.join(VoicePreset.__dataclass_fields__)} and nothing else.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
