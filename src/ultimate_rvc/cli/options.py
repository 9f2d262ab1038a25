"""Options of commands, derived from the settings that they fill: words, ranges and defaults stand there.

Only the command line knows flags: a sentence about a field is shown with the option that sets it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ultimate_rvc.errors import SettingError, UltimateRVCError
from ultimate_rvc.settings import REQUIRED, Setting, nested, walk
from ultimate_rvc.switches import PREFIX, SWITCHES

OUTPUT = "Output"
RUN = "Run"
CONVERSION = "Conversion"
OPTIMISATION = "Optimisation (left out: variables, settings file and hardware decide)"
# Panels of the help, by the first part of a setting's path or by its name.
PANELS = {
    "conversion": CONVERSION,
    "index_path": CONVERSION,
    "stems": "Stems",
    "backing": "Backing vocals",
    "effects": "Effects",
    "source": "Source",
    **dict.fromkeys(("inst_semitones", "backup_semitones", "main_gain", "inst_gain", "backup_gain"), "Mix"),
    "preprocessing": "Preprocessing",
    "extraction": "Features",
    "training": "Training",
    "seed": RUN,
}
# Options that users of RVC tools know by another name than the field's.
FLAGS = {
    "f0_methods": "f0-method",
    "index_path": "index",
    "output_path": "output",
    "bitrate_kbps": "bitrate",
    "gains_db": "gain",
    "semitones": "semitones",
    "stems.vocals_model": "separation-model",
    "stems.backing_model": "backing-separation-model",
    "stems.remove_reverb": "dereverb",
    "stems.reverb_model": "dereverb-model",
    "backing.voice": "backing-model",
    "backing.n_octaves": "backing-octaves",
    "backing.n_semitones": "backing-semitones",
    "host": "listen-host",
    "port": "listen-port",
    "api_keys": "api-key",
    "origins": "allow-origin",
    "most_waiting": "max-waiting",
    "most_jobs": "max-jobs",
}
ARGUMENTS = {"voice": "--model"}
SWITCH_FLAGS = {
    name: "--" + entry.facts.variable.removeprefix(PREFIX).lower().replace("_", "-")
    for name, entry in SWITCHES.items()
}

Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="Voice: a name in the library, or a .pth, .safetensors or .onnx file."
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object on standard output, nothing else.", rich_help_panel=RUN
    ),
]
Command = Callable[..., None]


def takes(
    kind: type[Any],
    *,
    leave_out: Collection[str] = (),
    subject: str = "voice",
    own_flags: Mapping[str, str] | None = None,
    panel: str | None = None,
) -> Callable[[Command], Command]:
    """Give a command an option for each setting of ``kind`` and of what is nested in it.

    The command receives as ``asked`` what the command line gave, as objects in objects. Settings without a default
    are the command's own arguments.

    Parameters
    ----------
    leave_out : dotted paths
        That the command says otherwise, or not at all.
    subject : str
        What ``..._voice`` switches are called after: ``--split-voice`` or ``--split-vocals``.
    own_flags : mapping
        Of fields that the command's own options set, for sentences.
    panel : str, optional
        Where the help lists all of them.
    """
    entries = {
        path: entry
        for path, entry in walk(kind)
        if entry.default is not REQUIRED and not {path, path.partition(".")[0]} & set(leave_out)
    }

    def decorate(command: Command) -> Command:
        flags = {path: flag_of(path, subject) for path in entries}
        known = ARGUMENTS | flags | dict(own_flags or {})
        paths = {flag.removeprefix("--").replace("-", "_"): path for path, flag in flags.items()}

        @functools.wraps(command)
        def wrapper(context: typer.Context, **given: Any) -> None:
            asked = {
                path: value
                for name, path in paths.items()
                if (value := given.pop(name)) is not None and was_asked_for(context, name)
            }
            with with_flags(known):
                command(asked=nested(asked), **given)

        options = [parameter(entries[path], flags[path], path, panel) for path in paths.values()]
        return _with_signature(wrapper, command, "asked", options, context=True)

    return decorate


def takes_optimization(command: Command) -> Command:
    """Give a command an option for each switch; it receives those that were given as ``switches``."""

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        switches = {name: given.pop(name) for name in SWITCHES}
        with with_flags(SWITCH_FLAGS):
            command(switches={name: value for name, value in switches.items() if value is not None}, **given)

    options = [_switch_parameter(entry) for entry in SWITCHES.values()]
    return _with_signature(wrapper, command, "switches", options)


def was_asked_for(context: typer.Context, parameter: str) -> bool:
    """Whether the command line gave a parameter."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name != "DEFAULT"


@contextmanager
def with_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Name the options of ``flags``, by dotted path or name, instead of fields in the sentences of errors."""
    try:
        yield
    except UltimateRVCError as error:
        error.rename_fields({field: _known_flag(field, flags) for field in error.fields})
        raise


def _known_flag(field: str, flags: Mapping[str, str]) -> str:
    for path, flag in flags.items():
        if f".{field}".endswith(f".{path}"):
            return flag
    name = field.rpartition(".")[2]
    return next((flag for path, flag in flags.items() if path.rpartition(".")[2] == name), field)


def flag_of(path: str, subject: str = "voice") -> str:
    name = path.rpartition(".")[2]
    words = FLAGS.get(path) or FLAGS.get(name) or name.replace("_voice", f"_{subject}").replace("_", "-")
    return f"--{words}"


def parameter(entry: Setting, flag: str, path: str, panel: str | None = None) -> inspect.Parameter:
    panel = panel or PANELS.get(entry.name) or PANELS.get(path.partition(".")[0], OUTPUT)
    known = f" {entry.range_text[0].upper()}{entry.range_text[1:]}." if entry.range_text else ""
    if entry.choices and not entry.is_list and entry.kind is int:
        known = f" One of {', '.join(map(str, entry.choices))}."
    declaration = f"{flag}/--no-{flag[2:]}" if entry.kind is bool else flag
    wanted: Any = list[entry.kind] if entry.is_list else entry.kind  # type: ignore[name-defined]
    default = list(entry.default) if entry.is_list else entry.default
    return inspect.Parameter(
        flag.removeprefix("--").replace("-", "_"),
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[
            wanted if default is not None else wanted | None,
            typer.Option(declaration, help=entry.help + known, rich_help_panel=panel),
        ],
    )


def _switch_parameter(entry: Setting) -> inspect.Parameter:
    flag = SWITCH_FLAGS[entry.name]
    is_switch = entry.kind is bool
    declaration = f"{flag}/--no-{flag[2:]}" if is_switch else flag
    # Texts are checked by resolve_config, in the same words as variables and settings files.
    wanted = bool | None if is_switch else str | None
    return inspect.Parameter(
        entry.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            wanted, typer.Option(declaration, help=entry.help, rich_help_panel=OPTIMISATION)
        ],
    )


def _with_signature(
    wrapper: Command,
    command: Command,
    received: str,
    options: Sequence[inspect.Parameter],
    *,
    context: bool = False,
) -> Command:
    """Let Typer see the command's own parameters and ``options``, but not the one that receives them."""
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
        if name != received
    ]
    first = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    wrapper.__signature__ = inspect.Signature([*(first if context else []), *own, *options])  # type: ignore[attr-defined]
    return wrapper


def one_of(option: str, given: str | None, positional: str | None, what: str) -> str:
    """The value given as an option or as an argument; both (differing) or none is a usage error."""
    if given is not None and positional is not None and given != positional:
        raise SettingError(f"{option} is given twice: {given!r} and {positional!r}; leave one out.")
    value = positional if given is None else given
    if value is None or not value.strip():
        raise SettingError(f"{option} is missing: {what}.")
    return value


Track = Annotated[Path, typer.Argument(help="Audio file.")]
