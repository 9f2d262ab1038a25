"""``urvc doctor``: what this installation has, and how to get what it lacks."""

from __future__ import annotations

from typing import Annotated

import typer

from ultimate_rvc.cli.console import show_json, show_line

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
    ] = False,
) -> None:
    """Show versions, device, free memory and disk, which models are there, and how to get the others."""
    from ultimate_rvc.doctor import examine

    report = examine()
    if as_json:
        show_json(report.as_dict())
        return
    for line in report.lines():
        show_line(line)
