"""``urvc-web``: a page on which a song becomes a cover.

One screen for the main job; everything else is on the command line.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.openmp import wait_briefly

LOCAL_HOST = "127.0.0.1"
DEFAULT_PORT = 7860

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    listen_host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets others in.")
    ] = LOCAL_HOST,
    listen_port: Annotated[int, typer.Option(help="Port of the page.")] = DEFAULT_PORT,
) -> None:
    """Open the web page of Ultimate RVC."""
    # Gradio would tell its makers about every start; a local tool has nobody to tell, nor often a network.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from ultimate_rvc.paths import output_dir
    from ultimate_rvc.web.page import build_page

    output_dir().mkdir(parents=True, exist_ok=True)
    build_page().queue(default_concurrency_limit=1).launch(
        server_name=listen_host, server_port=listen_port, allowed_paths=[str(output_dir())], show_error=True
    )


def run() -> None:
    """Entry point: one sentence instead of a traceback for what a user can mend."""
    wait_briefly()
    try:
        app()
    except (UltimateRVCError, OSError) as error:
        # Gradio raises OSError with a sentence of its own when the port is taken.
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(1)
