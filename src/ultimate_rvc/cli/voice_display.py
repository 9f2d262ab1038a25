"""What the commands of ``urvc voices`` share: how a voice is named, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultimate_rvc.cli.console import megabytes, show_json, show_line, show_table, show_warning

if TYPE_CHECKING:
    from ultimate_rvc.voices.cards import VoiceCard
    from ultimate_rvc.voices.finding import VoiceRef

SHOWN_NOTE_LETTERS = 40

Voice = Annotated[str, typer.Argument(metavar="VOICE", help="A name in the library.")]
AnyVoice = Annotated[str, typer.Argument(metavar="VOICE", help="A name in the library, or a voice file.")]


def show_voice(voice: VoiceRef, deed: str, as_json: bool) -> None:
    """A voice after a deed, with what was doubtful on standard error."""
    for warning in voice.warnings:
        show_warning(warning)
    if as_json:
        show_json(
            {
                "name": voice.name,
                "model": str(voice.model_path),
                "index": str(voice.index_path) if voice.index_path else None,
                "warnings": list(voice.warnings),
            }
        )
    else:
        show_line(f"{deed} {voice.name}: {voice.folder or voice.model_path}")


def card_json(card: VoiceCard) -> dict[str, Any]:
    """A card as plain values; ``model`` and ``index`` are paths, as everywhere."""
    index = str(card.index_path) if card.index_path else None
    return {**card.to_json(), "model": str(card.model_path), "index": index}


def show_cards(cards: Sequence[VoiceCard]) -> None:
    """Cards as a table, with what is doubtful about them on standard error."""
    rows = [
        [
            card.name,
            f"{card.sample_rate / 1000:g}k" if card.sample_rate else "-",
            card.version or "-",
            card.embedder or "-",
            megabytes(card.model_bytes),
            megabytes(card.index_bytes) if card.index_bytes else "-",
            ", ".join(card.tags) or "-",
            _shortened(card.note),
        ]
        for card in cards
    ]
    show_table(["voice", "rate", "version", "encoder", "model", "index", "tags", "note"], rows)
    for card in cards:
        for warning in card.warnings:
            show_warning(f"{card.name}: {warning}")


def _shortened(note: str) -> str:
    line = " ".join(note.split())
    return (line if len(line) <= SHOWN_NOTE_LETTERS else f"{line[: SHOWN_NOTE_LETTERS - 3]}...") or "-"


def plain_value(value: Any) -> str:
    """A value of JSON as a person reads it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain_value(each)}" for name, each in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None or value == "" else str(value)
