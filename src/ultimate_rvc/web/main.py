"""``urvc-web``: the page on which songs become covers, and everything else is at hand."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.openmp import wait_briefly

LOCAL_HOST = "127.0.0.1"
DEFAULT_PORT = 7860
UPLOAD_MB = 2000  # an hour of stereo in 24 bits is 950

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    listen_host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets others in.")
    ] = LOCAL_HOST,
    listen_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page.")] = DEFAULT_PORT,
    share: Annotated[
        bool, typer.Option("--share", help="Also open a public link through Gradio's servers.")
    ] = False,
    auth: Annotated[
        str | None, typer.Option(metavar="USER:PASS", help="Ask for this name and password.")
    ] = None,
    max_upload_mb: Annotated[
        int, typer.Option(min=1, max=100_000, help="Largest file that is taken, in millions of bytes.")
    ] = UPLOAD_MB,
    root_path: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="A proxy serves the page below this path, such as /rvc; / for its top."
        ),
    ] = None,
) -> None:
    """Open the web page of Ultimate RVC."""
    from ultimate_rvc.web.server import ServerOptions, run_server

    run_server(ServerOptions(listen_host, listen_port, share, auth, max_upload_mb, root_path))


def run() -> None:
    """Entry point: one sentence instead of a traceback for what a user can mend."""
    wait_briefly()
    try:
        app()
    except (UltimateRVCError, OSError) as error:
        # Gradio raises OSError with a sentence of its own when the port is taken.
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(1)
