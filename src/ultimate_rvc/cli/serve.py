"""``urvc serve``: the HTTP API by itself, and the keys of those who may use it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import show_line, show_table
from ultimate_rvc.plain import from_plain
from ultimate_rvc.server.keys import KEY_VARIABLE
from ultimate_rvc.server.options import ApiOptions

OPEN_FLAG = "--no-key"

app = typer.Typer(add_completion=False, help="Serve the HTTP API.")


@app.command()
@options.takes(ApiOptions, leave_out=("is_open",), own_flags={"is_open": OPEN_FLAG}, panel="Server")
def serve(
    asked: Mapping[str, Any],
    no_key: Annotated[
        bool,
        typer.Option(OPEN_FLAG, help="Let everybody in who reaches the address.", rich_help_panel="Keys"),
    ] = False,
    new_key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Make a key, show it once, and end.", rich_help_panel="Keys"),
    ] = None,
    remove_key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Forget a key, and end.", rich_help_panel="Keys")
    ] = None,
    list_keys: Annotated[
        bool, typer.Option("--list-keys", help="List the names of the keys, and end.", rich_help_panel="Keys")
    ] = False,
) -> None:
    """Serve the HTTP API until Ctrl-C: /docs describes it."""
    from ultimate_rvc.server import keys

    if new_key is not None:
        show_line(keys.new_key(new_key))
    elif remove_key is not None:
        keys.remove_key(remove_key)
        show_line(f"The key {remove_key!r} lets nobody in any more, once the server was started again.")
    elif list_keys:
        show_table(["key"], [[name] for name in keys.kept_hashes()])
    else:
        from ultimate_rvc.server.run import run_api

        given = [*asked.get("api_keys", ()), *filter(None, [os.environ.get(KEY_VARIABLE)])]
        chosen = from_plain(ApiOptions, {**asked, "api_keys": given, "is_open": no_key})
        run_api(chosen, lambda url: show_line(f"Serving on {url}; /docs describes it, Ctrl-C ends it."))
