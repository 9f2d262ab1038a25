"""``urvc cache``: results of steps that are kept between covers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import show_json, show_line, show_table

app = typer.Typer(no_args_is_help=True, help="List and clear the results kept between covers.")


@app.command("list")
def list_command(as_json: options.AsJson = False) -> None:
    """List what is kept, by step, with its size and age."""
    from ultimate_rvc.covers.cache import StepCache
    from ultimate_rvc.paths import cache_dir

    cache = StepCache(cache_dir())
    entries = cache.list_entries()
    if as_json:
        show_json(
            {
                "folder": str(cache.folder),
                "bytes": cache.total_size_bytes(),
                "entries": [
                    {**vars(entry), "files": [str(path) for path in entry.files]} for entry in entries
                ],
            }
        )
        return
    rows = [
        [
            entry.step if entry.complete else f"{entry.step} (damaged)",
            entry.key[:12],
            f"{entry.size_bytes / 1e6:.1f} MB",
            datetime.fromtimestamp(entry.modified_seconds).strftime("%Y-%m-%d %H:%M"),
        ]
        for entry in entries
    ]
    if rows:
        show_table(["step", "key", "size", "made"], rows)
    show_line(f"{len(rows)} results, {cache.total_size_bytes() / 1e6:.1f} MB in {cache.folder}")


@app.command()
def clear(
    step: Annotated[list[str], typer.Option(help="Only results of this step; may be repeated.")] = [],  # noqa: B006
    key: Annotated[list[str], typer.Option(help="Only the result with this key; may be repeated.")] = [],  # noqa: B006
    as_json: options.AsJson = False,
) -> None:
    """Remove results; without options all of them. Finished covers stay."""
    from ultimate_rvc.covers.cache import StepCache
    from ultimate_rvc.paths import cache_dir

    removed = StepCache(cache_dir()).clear(steps=step, keys=key)
    size = sum(entry.size_bytes for entry in removed)
    if as_json:
        show_json({"removed": len(removed), "bytes": size})
    else:
        show_line(f"removed {len(removed)} results, {size / 1e6:.1f} MB")
