"""Commands of ``urvc voices`` that change a voice; ``cli.voices`` gives them their names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultimate_rvc.choices import F0Method
from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import show_json, show_line, show_table
from ultimate_rvc.cli.voice_display import Voice, plain_value, show_voice
from ultimate_rvc.errors import SettingError

if TYPE_CHECKING:
    from ultimate_rvc.voices.trash import TrashEntry

PRESET_PANEL = "Preset: what a conversion uses where its own option is left out"


def rename(
    voice: Voice,
    new_name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
    as_json: options.AsJson = False,
) -> None:
    """Call a voice something else."""
    from ultimate_rvc.voices.library import rename_voice

    show_voice(rename_voice(voice, new_name), "renamed to", as_json)


def delete(voice: Voice, as_json: options.AsJson = False) -> None:
    """Move a voice to the library's trash, from where `restore` brings it back."""
    from ultimate_rvc.voices.library import delete_voice

    entry = delete_voice(voice)
    if as_json:
        show_json(entry.to_json())
    else:
        show_line(f"deleted {entry.name}; bring it back with 'urvc voices restore {entry.id}'")


def trash(as_json: options.AsJson = False) -> None:
    """List what was deleted and can be restored."""
    from ultimate_rvc.voices.library import list_trash

    entries = list_trash()
    if as_json:
        show_json([entry.to_json() for entry in entries])
    elif entries:
        rows = [
            [e.name, e.kind, f"{e.bytes / 1e6:.1f} MB", f"{e.deleted:%Y-%m-%d %H:%M} UTC", e.id]
            for e in entries
        ]
        show_table(["voice", "what", "size", "deleted", "id"], rows)
    else:
        show_line("The trash is empty.")


def restore(
    voice: Annotated[str, typer.Argument(metavar="VOICE", help="A name or id that `trash` shows.")],
    name: Annotated[str | None, typer.Option(help="Another name, when its own is taken.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Bring back the latest deletion of a voice, or of its index."""
    from ultimate_rvc.voices.library import restore_voice

    show_voice(restore_voice(voice, name), "restored", as_json)


def empty_trash(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Left out: everything.")] = None,
    older_than: Annotated[float, typer.Option(help="Only deletions so many days old.", min=0)] = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Delete for good what is in the trash."""
    from ultimate_rvc.voices import library

    gone: Sequence[TrashEntry] = library.empty_trash(ids or None, older_than_days=older_than)
    if as_json:
        show_json([entry.to_json() for entry in gone])
    else:
        show_line(f"{len(gone)} deletions are gone, {sum(entry.bytes for entry in gone) / 1e6:.1f} MB")


def attach_index(
    voice: Voice,
    index: Annotated[Path | None, typer.Argument(metavar="[INDEX]", help="An .index file.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Take its index away instead.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Give a voice an index, or take it away; the old one goes to the trash."""
    from ultimate_rvc.voices import library

    if detach == (index is not None):
        raise SettingError("Give an .index file, or --detach to take the voice's index away.")
    if index is not None:
        show_voice(library.attach_index(voice, index), "gave an index to", as_json)
        return
    library.detach_index(voice)
    show_voice(library.find_voice(voice), "took the index from", as_json)


def refresh(voice: Voice, as_json: options.AsJson = False) -> None:
    """Read a voice's files again and take them as they are now; note, tags and preset stay."""
    from ultimate_rvc.voices.library import refresh_voice

    show_voice(refresh_voice(voice), "refreshed", as_json)


def _preset_option(sentence: str) -> Any:
    return typer.Option(help=sentence, rich_help_panel=PRESET_PANEL)


def preset(
    voice: Voice,
    n_semitones: Annotated[int | None, _preset_option("Semitones to shift by, -48 to 48.")] = None,
    index_rate: Annotated[float | None, _preset_option("How much of the index to use, 0 to 1.")] = None,
    protect_rate: Annotated[float | None, _preset_option("Protection of consonants, 0 to 0.5.")] = None,
    f0_method: Annotated[
        list[F0Method] | None, _preset_option("How pitch is found; several give their median.")
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(help="A setting to leave to its usual default again, e.g. index-rate; may be repeated."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Leave all to their usual defaults.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show or change a voice's default settings."""
    from ultimate_rvc.voices.library import VoicePreset, change_preset, set_preset, voice_card

    given: Mapping[str, Any] = {
        "n_semitones": n_semitones,
        "index_rate": index_rate,
        "protect_rate": protect_rate,
        "f0_methods": tuple(f0_method) if f0_method else None,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    dropped = [_preset_field(word) for word in unset or ()]
    with options.with_flags({name: options.flag_of(name) for name in given}):
        if clear:
            set_preset(voice, VoicePreset(**changes))
        elif changes or dropped:
            change_preset(voice, **{**dict.fromkeys(dropped), **changes})
    card = voice_card(voice)
    if as_json:
        show_json(card.preset.to_json())
    elif values := card.preset.to_json():
        show_table(["setting", "value"], [[name, plain_value(value)] for name, value in values.items()])
    else:
        show_line(f"{card.name} has no preset: conversions use the usual defaults.")


def note(
    voice: Voice,
    text: Annotated[
        str | None, typer.Argument(help="The note; - reads it from standard input, an empty one removes it.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show or write a note about a voice."""
    from ultimate_rvc.voices.library import set_note, voice_card

    written = sys.stdin.read() if text == "-" else text
    card = voice_card(voice) if written is None else set_note(voice, written)
    show_json({"name": card.name, "note": card.note}) if as_json else show_line(card.note or "(no note)")


def picture(
    voice: Voice,
    file: Annotated[Path | None, typer.Argument(help="A PNG, JPEG or WebP file.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the picture away.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show where a voice's picture is, give it one, or take it away."""
    from ultimate_rvc.voices.library import set_picture, voice_card

    if remove and file is not None:
        raise SettingError("Give a picture, or --remove to take the voice's picture away; not both.")
    card = set_picture(voice, file) if remove or file is not None else voice_card(voice)
    path = str(card.picture_path) if card.picture_path else None
    show_json({"name": card.name, "picture": path}) if as_json else show_line(path or "(no picture)")


def tag(
    voice: Voice,
    add: Annotated[list[str] | None, typer.Argument(metavar="[TAG...]", help="Tags to add.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A tag to take off; may be repeated.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show, add or remove a voice's tags."""
    from ultimate_rvc.voices.library import change_tags, voice_card

    card = change_tags(voice, add=add or (), remove=remove or ()) if add or remove else voice_card(voice)
    if as_json:
        show_json({"name": card.name, "tags": list(card.tags)})
    else:
        show_line(", ".join(card.tags) or "(no tags)")


def _preset_field(word: str) -> str:
    """The preset's field that an option's name means."""
    from ultimate_rvc.voices.presets import VoicePreset

    known = {"f0_method": "f0_methods"} | {name: name for name in VoicePreset.__dataclass_fields__}
    name = word.strip().removeprefix("--").replace("-", "_")
    if name not in known:
        raise SettingError(
            f"--unset is {word!r}, but must be one of n-semitones, index-rate, protect-rate, f0-method."
        )
    return known[name]


COMMANDS: tuple[Callable[..., None], ...] = (
    *(rename, delete, trash, restore, empty_trash, attach_index),
    *(refresh, preset, note, picture, tag),
)
