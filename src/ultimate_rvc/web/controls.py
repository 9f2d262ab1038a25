"""Settings of the engine as controls: one table per group, names and defaults those of the dataclasses.

A control's label and sentence are the catalogue's ``setting.<name>.label`` and ``setting.<name>.info``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import gradio as gr

from ultimate_rvc.audio.effect_settings import EffectSettings
from ultimate_rvc.choices import AudioFormat, EmbedderModel, F0Method, StepSwitch
from ultimate_rvc.covers.settings import MAX_KBPS, MIN_KBPS, OUTPUT_RATES, CoverSettings, StemSettings
from ultimate_rvc.errors import SettingError
from ultimate_rvc.rvc.infer.settings import MAX_SEED, ConversionSettings
from ultimate_rvc.separation.models import AUTO_MODEL, SEPARATION_MODELS, SeparationTask
from ultimate_rvc.web.texts import Texts

PAGE_GAIN_DB = 20.0  # what a mix needs; the engine takes -60 as well
LARGEST_SAFE_INTEGER = 2**53 - 1  # browsers count no further
NOTHING = ""  # the choice that leaves a setting to the engine


@dataclass(frozen=True)
class Control:
    """One setting: its dotted ``path`` in the job's settings, and how it is shown."""

    path: str
    default: Any
    make: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[Any], Any] = lambda value: value
    """From the control's value to the engine's."""
    show: Callable[[Any], Any] = lambda value: value
    """From the engine's value to the control's."""

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    def component(self, texts: Texts, given: Mapping[str, Any]) -> Any:
        """The control, with its value in ``given``, nested settings, or its default."""
        options = dict(self.options)
        if self.make is gr.Number and self.default is None:
            options["placeholder"] = texts("setting.automatic")  # without it an empty box would show 0
        if "choices" in options:
            options["choices"] = [
                (texts("setting.automatic") if choice == NOTHING else str(choice), choice)
                for choice in options["choices"]
            ]
        return self.make(
            label=texts(f"setting.{self.name}.label"),
            info=texts(f"setting.{self.name}.info"),
            value=self.shown(given),
            **options,
        )

    def shown(self, settings: Mapping[str, Any]) -> Any:
        """The control's value from nested settings; what is left out has its default."""
        value: Any = settings
        for name in self.path.split("."):
            value = value.get(name, self.default) if isinstance(value, Mapping) else self.default
        return self.show(value)


def _slider(path: str, default: float, low: float, high: float, step: float) -> Control:
    whole = isinstance(step, int)
    return Control(
        path, default, gr.Slider, {"minimum": low, "maximum": high, "step": step}, int if whole else float
    )


def _switch(path: str, default: bool) -> Control:
    return Control(path, default, gr.Checkbox, read=bool)


def _choice(path: str, default: Any, choices: Sequence[Any], *, optional: bool = False) -> Control:
    """One word of several; ``optional`` adds the choice that leaves it to the engine, ``None``."""
    if not optional:
        return Control(path, default, gr.Dropdown, {"choices": list(choices)})
    return Control(
        path,
        default,
        gr.Dropdown,
        {"choices": [NOTHING, *choices]},
        read=lambda value: None if value == NOTHING else value,
        show=lambda value: NOTHING if value is None else value,
    )


def _words(kind: type[StrEnum], leave_out: Sequence[str] = ()) -> list[str]:
    return [word.value for word in kind if word.value not in leave_out]


def _whole_or_nothing(value: Any) -> int | None:
    return None if value is None else int(value)


def _number(path: str, default: int | None, low: int, high: int) -> Control:
    """A whole number; an empty box is ``None`` where there is no default."""
    read = _whole_or_nothing if default is None else int
    return Control(path, default, gr.Number, {"minimum": low, "maximum": high, "precision": 0}, read)


def separation_models(task: SeparationTask) -> list[str]:
    """Models of a task, the automatic choice first."""
    return [AUTO_MODEL, *(name for name, model in SEPARATION_MODELS.items() if task in model.tasks)]


_conversion = ConversionSettings()
_cover = CoverSettings()
_stems = StemSettings()
_effects = EffectSettings()

PITCH = (
    _slider("conversion.n_octaves", _conversion.n_octaves, -4, 4, 1),
    _slider("conversion.n_semitones", _conversion.n_semitones, -48, 48, 1),
)
CONVERSION = (
    Control(
        "conversion.f0_methods",
        list(_conversion.f0_methods),
        gr.Dropdown,
        {"choices": _words(F0Method), "multiselect": True},
        show=lambda methods: [str(method) for method in methods],
    ),
    _slider("conversion.index_rate", _conversion.index_rate, 0, 1, 0.01),
    _slider("conversion.rms_mix_rate", _conversion.rms_mix_rate, 0, 1, 0.01),
    _slider("conversion.protect_rate", _conversion.protect_rate, 0, 0.5, 0.01),
    _switch("conversion.split_voice", _conversion.split_voice),
    _switch("conversion.autotune_voice", _conversion.autotune_voice),
    _slider("conversion.autotune_strength", _conversion.autotune_strength, 0, 1, 0.01),
    _switch("conversion.proposed_pitch", _conversion.proposed_pitch),
    _slider("conversion.proposed_pitch_threshold", _conversion.proposed_pitch_threshold, 50, 1200, 1.0),
    _switch("conversion.clean_voice", _conversion.clean_voice),
    _slider("conversion.clean_strength", _conversion.clean_strength, 0, 1, 0.01),
    # An encoder of one's own is a folder of the machine: the command line's business.
    _choice("conversion.embedder_model", None, _words(EmbedderModel, [EmbedderModel.CUSTOM]), optional=True),
    _number("conversion.sid", _conversion.sid, 0, 2**31 - 1),
    _number("conversion.seed", _conversion.seed, 0, min(MAX_SEED, LARGEST_SAFE_INTEGER)),
    _slider("conversion.noise_scale", _conversion.noise_scale, 0, 2, 0.00001),
    _slider("conversion.source_noise_scale", _conversion.source_noise_scale, 0, 2, 0.01),
)
STEMS = (
    _choice("stems.vocals_model", _stems.vocals_model, separation_models(SeparationTask.VOCALS)),
    _choice("stems.split_backing", _stems.split_backing.value, _words(StepSwitch)),
    _choice("stems.backing_model", _stems.backing_model, separation_models(SeparationTask.LEAD)),
    _choice("stems.remove_reverb", _stems.remove_reverb.value, _words(StepSwitch)),
    _choice("stems.reverb_model", _stems.reverb_model, separation_models(SeparationTask.REVERB)),
)
MIX = (
    _slider("main_gain", _cover.main_gain, -PAGE_GAIN_DB, PAGE_GAIN_DB, 0.5),
    _slider("inst_gain", _cover.inst_gain, -PAGE_GAIN_DB, PAGE_GAIN_DB, 0.5),
    _slider("backup_gain", _cover.backup_gain, -PAGE_GAIN_DB, PAGE_GAIN_DB, 0.5),
    _number("inst_semitones", None, -24, 24),
    _number("backup_semitones", None, -24, 24),
)
EFFECTS = (
    _slider("effects.room_size", _effects.room_size, 0, 1, 0.01),
    _slider("effects.wet_level", _effects.wet_level, 0, 1, 0.01),
    _slider("effects.dry_level", _effects.dry_level, 0, 1, 0.01),
    _slider("effects.damping", _effects.damping, 0, 1, 0.01),
    _slider("effects.highpass_hz", _effects.highpass_hz, 0, 1000, 1.0),
    _slider("effects.compressor_threshold_db", _effects.compressor_threshold_db, -60, 0, 0.5),
    _slider("effects.compressor_ratio", _effects.compressor_ratio, 1, 100, 0.5),
    _slider("effects.attack_ms", _effects.attack_ms, 0.01, 1000, 0.01),
    _slider("effects.release_ms", _effects.release_ms, 1, 10_000, 1.0),
)
OUTPUT = (
    _choice("output_format", None, _words(AudioFormat), optional=True),
    _choice("output_sr", _cover.output_sr, OUTPUT_RATES),
    _number("bitrate_kbps", None, MIN_KBPS, MAX_KBPS),
    Control(
        "output_name",
        None,
        gr.Textbox,
        {"max_length": 120},
        read=lambda name: name.strip() or None,
        show=lambda name: name or "",
    ),
)


@dataclass(frozen=True)
class Form:
    """Controls that were laid out, in the order in which their values come back."""

    controls: Sequence[Control]
    components: Sequence[Any]

    def read(self, values: Sequence[Any]) -> dict[str, Any]:
        """Values of the components as nested settings of a job."""
        nested: dict[str, Any] = {}
        for control, value in zip(self.controls, values, strict=True):
            *folders, name = control.path.split(".")
            place = nested
            for folder in folders:
                place = place.setdefault(folder, {})
            try:
                place[name] = control.read(value)
            except (TypeError, ValueError, AttributeError):  # only a client other than the page sends such
                raise SettingError(f"{control.path} is {value!r}, which it cannot be.") from None
        return nested

    def show(self, settings: Mapping[str, Any]) -> list[Any]:
        """Values of the components from nested settings; what is left out has its default."""
        return [control.shown(settings) for control in self.controls]


def lay_out(controls: Sequence[Control], texts: Texts, given: Mapping[str, Any] | None = None) -> Form:
    """Put controls where the layout stands, with what is ``given`` instead of the defaults."""
    return Form(controls, [control.component(texts, given or {}) for control in controls])


def joined(*forms: Form) -> Form:
    """Several forms as one."""
    return Form(
        [control for form in forms for control in form.controls],
        [component for form in forms for component in form.components],
    )
