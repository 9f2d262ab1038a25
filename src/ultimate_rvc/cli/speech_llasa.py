"""``urvc speech dataset`` and ``urvc speech finetune``: teach LLASA a voice from recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import progress_bar, show_json, show_line, show_warning
from ultimate_rvc.speech.llasa.tool_settings import DatasetSettings, FinetuneSettings

SHOWN_REASONS = 10


def register(app: typer.Typer) -> None:
    """Add the commands to ``urvc speech``."""
    app.command()(dataset)
    app.command()(finetune)


@options.takes(DatasetSettings, own_flags={"output": "--output"})
def dataset(
    asked: dict[str, Any],
    folder: Annotated[Path, typer.Argument(help="Folder of recordings.", show_default=False)],
    text: Annotated[
        Path,
        typer.Argument(help="Text file with a line id:text for each recording.", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; what it holds already stays.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Encode recordings into a dataset for `urvc speech finetune`; a run that was stopped goes on.

    Example: urvc speech dataset recordings/ words.txt -o data.jsonl --precision bf16
    """
    from ultimate_rvc.speech.llasa.dataset import make_dataset

    settings = DatasetSettings(**asked)
    with progress_bar() as progress:
        made = make_dataset(folder, text, output, settings, progress)
    for reason in made.left_out[:SHOWN_REASONS]:
        show_warning(f"{reason}; it is left out.")
    if len(made.left_out) > SHOWN_REASONS:
        show_warning(f"... and {len(made.left_out) - SHOWN_REASONS} more.")
    if as_json:
        show_json({"path": made.path, "lines": made.lines, "new": made.new, "left_out": made.left_out})
        return
    show_line(f"{made.lines} lines, {made.new} of them new, in {made.path}")


@options.takes(FinetuneSettings)
def finetune(
    asked: dict[str, Any],
    data: Annotated[Path, typer.Argument(help="Dataset of `urvc speech dataset`.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Name of the new speaker.", show_default=False)],
    as_json: options.AsJson = False,
) -> None:
    """Train an adapter for LLASA, a speaker from then on; Ctrl-C saves, and the same command goes on.

    Example: urvc speech finetune data.jsonl "my voice" --num-epochs 5 --precision bf16
    """
    from ultimate_rvc.speech.llasa.finetune import finetune as train
    from ultimate_rvc.voices.names import checked_name

    settings = FinetuneSettings(**asked)
    with progress_bar() as progress:
        trained = train(data, checked_name(name), settings, progress)
    if trained.left_out:
        show_warning(
            f"{trained.left_out} lines have more than {settings.max_tokens} tokens and are left out."
        )
    steps = len(trained.losses)
    if as_json:
        show_json(
            {"path": trained.path, "steps": steps, "lines": trained.lines, "left_out": trained.left_out,
             "losses": trained.losses, "was_stopped": trained.was_stopped}
        )  # fmt: skip
        return
    end = "stopped; the same command goes on" if trained.was_stopped else "done"
    show_line(
        f"{end}: {steps} steps, loss {trained.losses[0]:.3f} to {trained.losses[-1]:.3f}" if steps else end
    )
    show_line(f"speaker     {trained.path.name} (--engine llasa), in {trained.path}")
