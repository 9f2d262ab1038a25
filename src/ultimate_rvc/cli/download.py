"""``urvc download``: fetch model files before they are needed."""

from __future__ import annotations

from typing import Annotated

import typer

from ultimate_rvc.cli import assets

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
    assets.fetch(names, as_json, show_next=False)
