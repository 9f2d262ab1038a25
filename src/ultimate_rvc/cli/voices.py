"""``urvc voices``: the voice library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import show_json, show_line, show_table, show_warning

app = typer.Typer(no_args_is_help=True, help="List, inspect and import voices.")


@app.command("list")
def list_command(as_json: options.AsJson = False) -> None:
    """List the voices of the library."""
    from ultimate_rvc.paths import voice_models_dir
    from ultimate_rvc.voices.library import list_voices, packaged_voices

    voices = list_voices()
    if as_json:
        show_json([_as_json(voice) for voice in voices])
    elif voices:
        show_table(
            ["voice", "model", "index"],
            [[v.name, str(v.model_path), v.index_path.name if v.index_path else "-"] for v in voices],
        )
    else:
        show_line(f"No voices yet in {voice_models_dir()}: import one with 'urvc voices import FILE'.")
    if not as_json:
        show_line(f"With the package: {', '.join(voice.name for voice in packaged_voices())}")


@app.command()
def inspect(
    voice: Annotated[str, typer.Argument(help="A name in the library, or a voice file.")],
    as_json: options.AsJson = False,
) -> None:
    """Show what a voice file holds."""
    from ultimate_rvc.voices.library import find_voice, inspect_voice

    facts = inspect_voice(find_voice(voice)).to_json()
    if as_json:
        show_json(facts)
        return
    show_table(
        ["what", "value"], [[name, _plain(value)] for name, value in facts.items() if name != "warnings"]
    )
    for warning in facts.get("warnings", ()):
        show_warning(warning)


@app.command("import")
def import_command(
    path: Annotated[Path, typer.Argument(help="A .pth, .safetensors or .zip file, or a folder.")],
    name: Annotated[str | None, typer.Option(help="Name in the library; left out: the file's.")] = None,
    index: Annotated[Path | None, typer.Option(help="Its .index file.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Bring a voice into the library; it is read without executing anything."""
    from ultimate_rvc.voices.library import import_voice

    voice = import_voice(path, name, index)
    for warning in voice.warnings:
        show_warning(warning)
    show_json(_as_json(voice)) if as_json else show_line(f"imported {voice.name} into {voice.folder}")


def _as_json(voice: Any) -> dict[str, Any]:
    return {
        "name": voice.name,
        "model": str(voice.model_path),
        "index": str(voice.index_path) if voice.index_path else None,
        "warnings": list(voice.warnings),
    }


def _plain(value: Any) -> str:
    return "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
