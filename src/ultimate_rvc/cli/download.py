"""``urvc download``: fetch model files before they are needed."""

from __future__ import annotations

from typing import Annotated

import typer

from ultimate_rvc.cli.console import progress_bar, show_json, show_line

app = typer.Typer(add_completion=False)


@app.command()
def download(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Models as `urvc doctor` calls them, e.g. rmvpe.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
    ] = False,
) -> None:
    """Fetch models by name, checked and resumed; what is there already is left alone."""
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
