"""``urvc voices``: the voice library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ultimate_rvc.choices import VoicePrecision, VoiceVersion
from ultimate_rvc.cli import options, voice_changes
from ultimate_rvc.cli.console import progress_bar, show_json, show_line, show_table, show_warning
from ultimate_rvc.cli.voice_display import AnyVoice, card_json, plain_value, show_cards, show_voice
from ultimate_rvc.errors import SettingError

if TYPE_CHECKING:
    from ultimate_rvc.progress import Progress
    from ultimate_rvc.voices.finding import VoiceRef

app = typer.Typer(no_args_is_help=True, help="The voice library: import, find, change and export voices.")


# --- looking -----------------------------------------------------------------------------------


@app.command("list")
def list_command(as_json: options.AsJson = False) -> None:
    """List the voices of the library."""
    from ultimate_rvc.paths import voice_models_dir
    from ultimate_rvc.voices.library import list_cards, packaged_voices

    cards = list_cards()
    if as_json:
        show_json([card_json(card) for card in cards])
        return
    if cards:
        show_cards(cards)
    else:
        show_line(f"No voices yet in {voice_models_dir()}: import one with 'urvc voices import FILE'.")
    show_line(f"With the package: {', '.join(voice.name for voice in packaged_voices())}")


@app.command()
def search(
    words: Annotated[list[str] | None, typer.Argument(help="Words of name, tags, note, encoder.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag it must have; may be repeated.")] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Only voices of this rate in Hz.")] = None,
    version: Annotated[VoiceVersion | None, typer.Option(help="Only voices of this version.")] = None,
    index: Annotated[
        bool | None, typer.Option("--index/--no-index", help="Only with or without one.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Find voices in which all words occur, best match first."""
    from ultimate_rvc.voices.library import search_voices

    cards = search_voices(
        " ".join(words or ()),
        tags=tag or (),
        sample_rate=sample_rate,
        version=version,
        has_index=index,
        packaged=True,
    )
    if as_json:
        show_json([card_json(card) for card in cards])
    elif cards:
        show_cards(cards)
    else:
        show_line("No voice matches; 'urvc voices list' shows them all.")


@app.command()
def inspect(voice: AnyVoice, as_json: options.AsJson = False) -> None:
    """Show what a voice's files hold, and whether they have changed since they were imported."""
    from ultimate_rvc.voices.library import find_voice, inspect_voice

    facts = inspect_voice(find_voice(voice)).to_json()
    if as_json:
        show_json(facts)
        return
    told = ("warnings", "changes")
    show_table(
        ["what", "value"], [[name, plain_value(value)] for name, value in facts.items() if name not in told]
    )
    for warning in (*facts["changes"], *facts["warnings"]):
        show_warning(warning)


# --- bringing in, sending out ------------------------------------------------------------------


@app.command("import")
def import_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A .pth, .safetensors, .onnx or .zip file, a folder, a link, or a voice of `urvc assets list`.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name in the library; left out: the file's.")] = None,
    index: Annotated[str | None, typer.Option(help="Its .index file, or a link to it.")] = None,
    sha256: Annotated[str | None, typer.Option(help="What the file behind a link must have.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Bring a voice into the library; it is read without executing anything.

    Links of Hugging Face, Google Drive and pixeldrain are taken as people share them.
    """
    with progress_bar() as progress:
        voice = _import(source, name, index, sha256, progress)
    show_voice(voice, "imported", as_json)


def _import(
    source: str, name: str | None, index: str | None, sha256: str | None, progress: Progress
) -> VoiceRef:
    from ultimate_rvc.assets.links import is_link
    from ultimate_rvc.voices.library import (
        import_known_voice,
        import_voice,
        import_voice_from_url,
        known_voices,
    )

    if is_link(source):
        return import_voice_from_url(source, name, index, sha256=sha256, progress=progress)
    if sha256 is not None or (index is not None and is_link(index)):
        raise SettingError(
            "--sha256, and an --index that is a link, are for voices that are links themselves."
        )
    if source in known_voices() and not Path(source).exists():
        return import_known_voice(source, name, progress=progress)
    return import_voice(source, name, index)


@app.command()
def export(
    voice: AnyVoice,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Zip or folder to write; left out: the output folder."),
    ] = None,
    precision: Annotated[
        VoicePrecision,
        typer.Option(
            help="float16: for every RVC tool. int8: half the size, rounded, only for this program."
        ),
    ] = VoicePrecision.FLOAT16,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a voice as a zip that every RVC tool can take in, or in 8 bits for this program."""
    from ultimate_rvc.voices.library import export_voice

    exported = export_voice(voice, output, precision=precision, overwrite=force)
    if as_json:
        show_json(exported.to_json())
        return
    for warning in exported.warnings:
        show_warning(warning)
    show_line(f"exported {voice} to {exported.path} ({exported.bytes / 1e6:.1f} MB)")


@app.command()
def blend(
    first: AnyVoice,
    second: AnyVoice,
    name: Annotated[str, typer.Option(help="Name of the new voice.")],
    ratio: Annotated[float, typer.Option(help="Share of the first voice, 0 to 1.")] = 0.5,
    as_json: options.AsJson = False,
) -> None:
    """Make a voice between two others of the same kind."""
    from ultimate_rvc.voices.library import blend_voices

    with options.with_flags({"ratio": "--ratio"}):
        show_voice(blend_voices(first, second, name, ratio), "blended", as_json)


for command in voice_changes.COMMANDS:
    app.command()(command)
