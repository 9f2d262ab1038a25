"""Options of the ``train`` commands, made from the settings they fill: with their names and defaults."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.rvc.train.data_settings import ExtractSettings, PreprocessSettings
from ultimate_rvc.rvc.train.settings import TrainingSettings
from ultimate_rvc.settings import settings_of

GROUPS = {PreprocessSettings: "preprocessing", ExtractSettings: "extraction", TrainingSettings: "training"}
Settings = PreprocessSettings | ExtractSettings | TrainingSettings


def takes_settings(*kinds: type[Settings]) -> Callable[[options.Command], options.Command]:
    """Give a command an option for each setting of ``kinds``; its first parameters receive one object of each.

    Settings of one name in several kinds (``device``, ``cpu_cores``) are one option. What the command line does not
    say, the settings file may.
    """

    def decorate(command: options.Command) -> options.Command:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[len(kinds) :]
        taken = {parameter.name for parameter in own}
        parameters: dict[str, inspect.Parameter] = {}
        for kind in kinds:
            for name, entry in settings_of(kind).items():
                if name not in taken:
                    parameters.setdefault(name, options.parameter(entry, options.flag_of(name), GROUPS[kind]))
        flags = {name: options.flag_of(name) for kind in kinds for name in settings_of(kind)}

        @functools.wraps(command)
        def with_settings(context: typer.Context, **values: Any) -> None:
            from ultimate_rvc.work.settings_parts import training_settings

            with options.with_flags(flags):
                chosen = []
                for kind in kinds:
                    filed = training_settings(kind).items()
                    known = values | {
                        name: value for name, value in filed if not options.was_asked_for(context, name)
                    }
                    chosen.append(
                        kind(**{name: known[name] for name in settings_of(kind) if name in parameters})
                    )
                    values |= {name: known[name] for name in taken & known.keys()}
                command(*chosen, **{name: value for name, value in values.items() if name in taken})

        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        given = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        with_settings.__signature__ = inspect.Signature([context, *given, *parameters.values()])  # type: ignore[attr-defined]
        return with_settings

    return decorate


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
ModelName = Annotated[str, typer.Argument(help="Name of the voice.")]
AudioFiles = Annotated[list[Path], typer.Argument(help="Audio files, and folders of them.")]
