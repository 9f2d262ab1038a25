"""Options that several commands share, each with the words, range and default users know.

Defaults are those of the settings classes themselves, so that no door has defaults of its own.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ultimate_rvc.choices import AudioFormat, EmbedderModel, F0Method
from ultimate_rvc.rvc.infer.settings import ConversionSettings
from ultimate_rvc.switches import SWITCHES, ResolvedConfig, SwitchSpec, resolve_config

CONVERSION = "Conversion"
OUTPUT = "Output"
RUN = "Run"
OPTIMISATION = "Optimisation (left out: variables, settings file and hardware decide)"

Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Voice: a name in the library, or a .pth or .safetensors file."),
]
Index = Annotated[
    Path | None,
    typer.Option(help="Index file to use instead of the voice's own.", rich_help_panel=CONVERSION),
]
DeviceName = Annotated[
    str, typer.Option("--device", help="auto, mps, cuda, cuda:N or cpu.", rich_help_panel=RUN)
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object on standard output, nothing else.", rich_help_panel=RUN
    ),
]
OutputFormat = Annotated[AudioFormat | None, typer.Option(help="Audio format.", rich_help_panel=OUTPUT)]
Bitrate = Annotated[
    int | None, typer.Option(help="Bitrate in kbit/s for mp3, ogg, m4a and aac.", rich_help_panel=OUTPUT)
]


@dataclass(frozen=True)
class _ConversionOption:
    field: str  # of ConversionSettings
    type: Any
    help: str
    name: str | None = None  # where it differs from the field's
    panel: str = CONVERSION

    def parameter(self, subject: str) -> inspect.Parameter:
        """The command's parameter; ``..._voice`` switches are named after ``subject``."""
        name = (self.name or self.field).replace("_voice", f"_{subject}")
        flag = "--" + name.replace("_", "-")
        declaration = f"{flag}/--no-{flag[2:]}" if self.type is bool else flag
        default = getattr(ConversionSettings, self.field)
        return inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=list(default) if isinstance(default, tuple) else default,
            annotation=Annotated[
                self.type, typer.Option(declaration, help=self.help, rich_help_panel=self.panel)
            ],
        )


_CONVERSION_OPTIONS = (
    _ConversionOption(
        "n_octaves", int, "Octaves to shift the voice by, -4 to 4; about 1 from a male to a female voice."
    ),
    _ConversionOption("n_semitones", int, "Semitones to shift the voice by, -48 to 48."),
    _ConversionOption(
        "f0_methods",
        list[F0Method],
        "How pitch is found; several give their median. auto: rmvpe when its file is here, else fcpe.",
        name="f0_method",
    ),
    _ConversionOption("index_rate", float, "How much of the voice's index to use, 0 to 1."),
    _ConversionOption(
        "rms_mix_rate", float, "1 keeps the new voice's loudness curve, 0 copies the source's."
    ),
    _ConversionOption(
        "protect_rate", float, "Keeps consonants and breath off the index, 0 to 0.5 (0.5: no)."
    ),
    _ConversionOption("split_voice", bool, "Convert only the sounding parts; pauses stay silent."),
    _ConversionOption("autotune_voice", bool, "Move every voiced frame to the nearest semitone."),
    _ConversionOption("autotune_strength", float, "How far autotune pulls to the note, 0 to 1."),
    _ConversionOption("proposed_pitch", bool, "Also shift so that the median pitch meets the threshold."),
    _ConversionOption(
        "proposed_pitch_threshold", float, "Median pitch to aim at, 50 to 1200 Hz (male 155, female 255)."
    ),
    _ConversionOption("clean_voice", bool, "Reduce steady noise in the result."),
    _ConversionOption("clean_strength", float, "Share of steady noise to remove, 0 to 1."),
    _ConversionOption("embedder_model", EmbedderModel | None, "Content encoder; left out: the voice's own."),
    _ConversionOption(
        "custom_embedder_model", str | None, "Folder of the encoder for --embedder-model custom."
    ),
    _ConversionOption("sid", int, "Speaker inside the voice."),
    _ConversionOption("seed", int, "The same seed gives the same bytes.", panel=RUN),
)


def takes_conversion(subject: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command all conversion options; it receives those that were asked for as ``asked``.

    ``asked`` holds fields of ``ConversionSettings``, checked already: what the command line or else the
    settings file says; the rest is for the voice's preset. A command that has a parameter ``decided``
    receives in it the names of all parameters that the command line gave.

    ``subject`` names the switches as users know them: ``--split-voice`` or ``--split-vocals``.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
            if name not in ("asked", "decided")
        ]
        wants_names = "decided" in inspect.signature(command).parameters
        shared = {option.parameter(subject).name: option for option in _CONVERSION_OPTIONS}

        @functools.wraps(command)
        def wrapper(context: typer.Context, **given: Any) -> None:
            from ultimate_rvc.cli.settings_file import conversion_settings

            asked: dict[str, Any] = conversion_settings() | {
                option.field: tuple(given[name]) if option.field == "f0_methods" else given[name]
                for name, option in shared.items()
                if was_asked_for(context, name)
            }
            ConversionSettings(**asked)
            if wants_names:
                given["decided"] = {name for name in given if was_asked_for(context, name)}
            command(asked=asked, **{name: value for name, value in given.items() if name not in shared})

        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        parameters = [context, *own, *(option.parameter(subject) for option in shared.values())]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return wrapper

    return decorate


def was_asked_for(context: typer.Context, parameter: str) -> bool:
    """Whether the command line gave a parameter."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name != "DEFAULT"


def takes_optimization(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of ``OptimizationConfig``; it receives all as ``switches``.

    ``switches`` holds ``None`` for those left out, as :func:`optimization_in_force` takes it.
    """
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
        if name != "switches"
    ]

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        switches = {name: given.pop(name) for name in SWITCHES}
        command(switches=switches, **given)

    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        own + [_switch_parameter(spec) for spec in SWITCHES.values()]
    )
    return wrapper


def _switch_parameter(spec: SwitchSpec) -> inspect.Parameter:
    declaration = f"{spec.option}/--no-{spec.option[2:]}" if spec.is_boolean else spec.option
    # Texts are checked by resolve_config, in the same words as variables and settings files.
    wanted = bool | None if spec.is_boolean else str | None
    return inspect.Parameter(
        spec.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[wanted, typer.Option(declaration, help=spec.help, rich_help_panel=OPTIMISATION)],
    )


def optimization_in_force(switches: Mapping[str, object]) -> ResolvedConfig:
    """The configuration with ``switches`` of the command line; what to warn of is logged."""
    resolved = resolve_config(command_line=switches)
    resolved.log_warnings()
    return resolved


def with_pitch(
    settings: ConversionSettings, n_octaves: int | None, n_semitones: int | None
) -> ConversionSettings:
    """``settings`` with another shift; ``None`` keeps the one it has."""
    return replace(
        settings,
        n_octaves=settings.n_octaves if n_octaves is None else n_octaves,
        n_semitones=settings.n_semitones if n_semitones is None else n_semitones,
    )
