"""``urvc assets``: the models that can be downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ultimate_rvc.assets.manage import AssetReport, AssetState
from ultimate_rvc.assets.registry import AssetKind
from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import megabytes, progress_bar, show_json, show_line, show_table
from ultimate_rvc.errors import AssetMissingError, SettingError

app = typer.Typer(no_args_is_help=True, help="List, fetch, check and remove models by name.")

Names = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Models as `urvc assets list` calls them.")
]
OptionalNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME...]", help="Models as `urvc assets list` calls them; left out: all here."),
]
Kinds = Annotated[
    list[AssetKind] | None, typer.Option("--kind", help="Only models of this kind; may be repeated.")
]


@app.command("list")
def list_command(
    kind: Kinds = None,
    present: Annotated[bool, typer.Option("--present", help="Only what is on this machine.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """List every model that can be downloaded, and what of it is here."""
    from ultimate_rvc.assets.manage import list_assets
    from ultimate_rvc.assets.registry import OFFLINE_VARIABLE, is_offline
    from ultimate_rvc.paths import models_dir

    reports = [
        report for report in list_assets(kind or ()) if not present or report.state is not AssetState.ABSENT
    ]
    if as_json:
        show_json([report.to_json() for report in reports])
        return
    if reports:
        show_table(["model", "kind", "size", "state"], [_row(report) for report in reports])
    here = [report for report in reports if report.state is AssetState.PRESENT]
    size = megabytes(sum(report.bytes for report in here))
    show_line(f"{len(here)} of {len(reports)} models, {size}, in {models_dir()}")
    if is_offline():
        show_line(f"{OFFLINE_VARIABLE} is set: nothing is downloaded.")


@app.command()
def download(names: Names, as_json: options.AsJson = False) -> None:
    """Fetch models, checked and resumed; what is there already is left alone."""
    fetch(names, as_json, show_next=True)


@app.command()
def verify(names: OptionalNames = None, as_json: options.AsJson = False) -> None:
    """Read models again, byte by byte, and compare them with the table of checksums."""
    from ultimate_rvc.assets.manage import verify_assets

    with progress_bar() as progress:
        reports = verify_assets(names or (), progress)
    if as_json:
        show_json([report.to_json() for report in reports])
    elif reports:
        show_table(["model", "kind", "size", "state"], [_row(report) for report in reports])
    else:
        show_line("No models are here yet: `urvc assets list` shows what there is.")
    unsound = [report for report in reports if report.state is not AssetState.PRESENT]
    if unsound:
        listed = " ".join(report.name for report in unsound)
        raise AssetMissingError(
            f"{len(unsound)} of {len(reports)} models are not whole: fetch them with "
            f"`urvc assets download {listed}`."
        )


@app.command()
def remove(
    names: OptionalNames = None,
    damaged: Annotated[bool, typer.Option("--damaged", help="Whatever has the wrong bytes.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Delete models from this machine; they can be fetched again."""
    from ultimate_rvc.assets.manage import list_assets, remove_assets

    chosen = list(names or ())
    if damaged:
        chosen += [report.name for report in list_assets() if report.state is AssetState.DAMAGED]
    elif not chosen:
        raise SettingError("Name the models to remove, or give --damaged.")
    freed = remove_assets(chosen)
    if as_json:
        show_json({"removed": freed, "bytes": sum(freed.values())})
        return
    for name, size in freed.items():
        show_line(f"removed {name}, {megabytes(size)}")
    if not freed:
        show_line("Nothing is damaged.")


def fetch(names: Sequence[str], as_json: bool, *, show_next: bool) -> None:
    """Fetch models and say where they are, with ``show_next`` also what to do with a voice."""
    from ultimate_rvc.assets.registry import asset, require

    for name in names:  # a misspelt last name must not cost the download of the others first
        asset(name)
    with progress_bar() as progress:
        paths = {name: str(require(name, progress)) for name in names}
    if as_json:
        show_json(paths)
        return
    for name, path in paths.items():
        show_line(f"{name}: {path}")
        if show_next and asset(name).kind is AssetKind.VOICE:
            show_line(f"bring it into the library with: urvc voices import {name}")


def _row(report: AssetReport) -> list[str]:
    return [report.name, str(report.kind), megabytes(report.bytes), str(report.state)]
