"""The root of ``urvc``: finds the command, runs it, and turns whatever goes wrong into one sentence.

Nothing heavy is imported here, and a command's module only when that command was asked for, so
that ``urvc --help`` answers at once.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ultimate_rvc import __version__
from ultimate_rvc.cli.console import log_shown
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.files import NO_ROOM
from ultimate_rvc.openmp import wait_briefly

PROGRAM = "urvc"
DEBUG_OPTION = "--debug"
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
# The machine's own limits, which no code can help: they are told like a user's errors, not like bugs.
DISK_ERRORS = NO_ROOM | {errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True)
class LazyCommand:
    """A command or group that the Typer object ``app`` of a module provides."""

    module: str
    help: str


COMMANDS = {
    "generate": LazyCommand(
        "ultimate_rvc.cli.generate", "Make covers, convert voices, speak, or run one step."
    ),
    "live": LazyCommand("ultimate_rvc.cli.live", "Convert a voice while it speaks."),
    "speech": LazyCommand(
        "ultimate_rvc.cli.speech", "List engines that read text aloud, and their speakers."
    ),
    "serve": LazyCommand("ultimate_rvc.cli.serve", "Serve the HTTP API, and make keys for it."),
    "train": LazyCommand("ultimate_rvc.cli.train", "Train voices from recordings."),
    "voices": LazyCommand("ultimate_rvc.cli.voices", "Import, find, change and export voices."),
    "assets": LazyCommand("ultimate_rvc.cli.assets", "List, fetch, check and remove models."),
    "cache": LazyCommand("ultimate_rvc.cli.cache", "List and clear the results kept between covers."),
    "jobs": LazyCommand("ultimate_rvc.cli.jobs", "List, show, cancel, repeat and clear jobs of the page."),
    "cluster": LazyCommand(
        "ultimate_rvc.cli.cluster", "Convert many files on the machines of a Ray cluster."
    ),
    "download": LazyCommand("ultimate_rvc.cli.download", "Fetch model files by name."),
    "export": LazyCommand("ultimate_rvc.cli.export", "Write a voice's networks for another runtime."),
    "benchmark": LazyCommand(
        "ultimate_rvc.cli.benchmark", "Say how long a cover takes on this machine, at each quality."
    ),
    "doctor": LazyCommand(
        "ultimate_rvc.cli.doctor", "Show versions, device, memory, models, what is missing."
    ),
}


class LazyGroup(TyperGroup):
    """Lists the commands of a table by their help, and imports the one that is run."""

    table = COMMANDS

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, command in self.table.items():
            self.add_command(TyperGroup(name=name, help=command.help), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in self.table:
            command = get_command(import_module(self.table[name].module).app)
            command.name = name
        return name, command, rest


app = typer.Typer(
    name=PROGRAM,
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Song covers and speech in any voice with RVC.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG_OPTION, help="Log details and show tracebacks; anywhere on the line.")
    ] = False,
) -> None:
    """Song covers and speech in any voice with RVC."""


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``urvc`` with ``arguments`` (those of the process by default) and exit.

    Exit codes: 0 done, 1 failed, 2 wrong use or a value out of range, 130 interrupted.
    """
    wait_briefly()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = _take_debug(words)
    try:
        with log_shown(debug=debug):
            get_command(app).main(args=words, prog_name=PROGRAM)
    except KeyboardInterrupt:  # those within a command are Typer's; this one came while it was found
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        if debug:
            traceback.print_exc()
        typer.echo(f"Error: {_sentence(error)}", err=True)
        sys.exit(error.exit_code if isinstance(error, UltimateRVCError) else EXIT_FAILED)
    raise AssertionError("Typer returned without exiting")


def _take_debug(words: list[str]) -> bool:
    """Remove ``--debug`` wherever it stands before ``--``: people add it to the end of a failed line."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != DEBUG_OPTION]
    found = len(kept) < end
    words[:end] = kept
    return found


def _sentence(error: Exception) -> str:
    if isinstance(error, UltimateRVCError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        file = error.filename2 or error.filename or "a file"  # the second one is the target of a copy
        return f"{error.strerror}: {file}. Make room, or choose another folder."
    return (
        f"This is a bug ({type(error).__name__}: {error}); "
        f"run the command again with {DEBUG_OPTION} to see where, and report it."
    )
