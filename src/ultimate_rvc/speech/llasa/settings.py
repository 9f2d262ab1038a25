"""How LLASA reads: which folders, on what, and how the next token is chosen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ultimate_rvc.choices import Device, StepSwitch
from ultimate_rvc.errors import SettingError
from ultimate_rvc.settings import Setting, check, setting, settings_of
from ultimate_rvc.switches import BOOLEANS


class NumberFormat(StrEnum):
    """What the networks compute in."""

    AUTO = "auto"  # bfloat16, else float16, on GPUs; float32 on processors
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, kw_only=True)
class LlasaSettings:
    """What the engine is asked for; a value outside its range raises :class:`SettingError`.

    The defaults of the sampling are those of the published examples (temperature 0.8, top_p 1 and the 50 most
    likely tokens, as transformers had it then; a context of 2048 tokens).
    """

    model: str | None = setting(
        None, "Model or adapter that reads as the person of a recording: a name or a folder; left out: the first.",
        variable="URVC_LLASA_MODEL", path=True,
    )  # fmt: skip
    codec: str | None = setting(
        None, "Folder of XCodec2; left out: the one beside the models.",
        variable="URVC_LLASA_CODEC", path=True,
    )  # fmt: skip
    device: str = setting(
        Device.AUTO.value, "Where to compute: auto, cpu, mps, cuda or cuda:N.", variable="URVC_LLASA_DEVICE"
    )
    spread: bool = setting(
        False, "Spread the layers over all GPUs and the processor, for models that no single one holds.",
        variable="URVC_LLASA_SPREAD",
    )  # fmt: skip
    precision: NumberFormat = setting(
        NumberFormat.AUTO, "auto: bfloat16, else float16 on GPUs; float32 on processors.",
        variable="URVC_LLASA_PRECISION",
    )  # fmt: skip
    compile_model: StepSwitch = setting(
        StepSwitch.AUTO, "Compile the step from token to token; auto: on NVIDIA GPUs.",
        variable="URVC_LLASA_COMPILE",
    )  # fmt: skip
    static_cache: StepSwitch = setting(
        StepSwitch.AUTO, "Keep room for the whole context from the start; auto: when compiled.",
        variable="URVC_LLASA_STATIC_CACHE",
    )  # fmt: skip
    temperature: float = setting(
        0.8,
        "0 takes the likeliest token always; higher varies more.",
        0,
        2,
        variable="URVC_LLASA_TEMPERATURE",
    )
    top_k: int = setting(
        50, "Choose among so many of the likeliest tokens; 0 is all.", 0, 65_536, variable="URVC_LLASA_TOP_K"
    )
    top_p: float = setting(
        1.0,
        "Choose among the likeliest tokens that make up this share.",
        0.01,
        1,
        variable="URVC_LLASA_TOP_P",
    )
    repetition_penalty: float = setting(
        1.0, "Tokens that were used are so much less likely; 1.2 suits adapters.", 1, 2,
        variable="URVC_LLASA_REPETITION_PENALTY",
    )  # fmt: skip
    max_tokens: int = setting(
        2048, "Context: prompt, reference and speech together, 50 tokens a second.", 128, 8192,
        variable="URVC_LLASA_MAX_TOKENS",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> LlasaSettings:
        """What the variables ``URVC_LLASA_*`` say.

        Raises
        ------
        SettingError
            One holds something that is no choice or outside its range; it is named.
        """
        environment = os.environ if environment is None else environment
        entries = {
            name: entry for name, entry in settings_of(cls).items() if environment.get(entry.facts.variable)
        }
        values = {name: _parsed(entry, environment[entry.facts.variable]) for name, entry in entries.items()}
        try:
            return cls(**values)
        except SettingError as error:
            error.rename_fields({name: entry.facts.variable for name, entry in entries.items()})
            raise


def _parsed(entry: Setting, text: str) -> Any:
    """The value that ``text`` stands for; what is no choice is left for the check."""
    text = text.strip()
    variable = entry.facts.variable
    if entry.kind is bool:
        if text.lower() not in BOOLEANS:
            raise SettingError(f"{variable} is {text!r}, but must be one of {', '.join(BOOLEANS)}.")
        return BOOLEANS[text.lower()]
    if entry.kind in (int, float):
        try:
            return entry.kind(text)
        except ValueError:
            raise SettingError(f"{variable} is {text!r}, but must be a number, {entry.range_text}.") from None
    return text
