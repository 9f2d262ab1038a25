"""What the library shows of a voice without opening its model, and the search through it."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultimate_rvc.plain import to_plain
from ultimate_rvc.voices.finding import VoiceRef, find_voice, list_voices, packaged_voices
from ultimate_rvc.voices.pictures import find_picture
from ultimate_rvc.voices.presets import VoicePreset
from ultimate_rvc.voices.record import plain_text, whole

MAX_SHOWN_LETTERS = 200  # of a recorded name


@dataclass(frozen=True, kw_only=True)
class VoiceCard:
    """A voice as the library shows it; ``None`` where its ``voice.json`` does not tell."""

    name: str
    model_path: Path
    model_bytes: int
    index_path: Path | None
    index_bytes: int | None
    packaged: bool
    """It ships with the package and cannot be changed."""
    picture_path: Path | None = None
    sample_rate: int | None = None
    """In Hz."""
    version: str | None = None
    f0: bool | None = None
    """Whether the voice follows a pitch."""
    vocoder: str | None = None
    embedder: str | None = None
    speakers: int | None = None
    pitch_median_hz: float | None = None
    epoch: int | None = None
    author: str | None = None
    note: str = ""
    tags: tuple[str, ...] = ()
    preset: VoicePreset
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**to_plain(vars(self)), "preset": self.preset.to_json()}


def list_cards(*, packaged: bool = False) -> list[VoiceCard]:
    """Cards of all voices of the library by name, with ``packaged`` also of those that ship."""
    refs = [(ref, False) for ref in list_voices()]
    if packaged:
        refs += [(ref, True) for ref in packaged_voices()]
    cards = []
    for ref, ships in refs:
        with contextlib.suppress(FileNotFoundError):  # deleted or renamed by someone else meanwhile
            cards.append(_card(ref, ships))
    return cards


def voice_card(name: str) -> VoiceCard:
    """The card of a voice as ``find_voice`` finds it; its warnings tell of files that have changed."""
    ref = find_voice(name)
    return _card(ref, ref.model_path in {ours.model_path for ours in packaged_voices()})


def search_voices(
    query: str = "",
    *,
    tags: Iterable[str] = (),
    sample_rate: int | None = None,
    version: str | None = None,
    has_index: bool | None = None,
    packaged: bool = False,
) -> list[VoiceCard]:
    """Voices in whose card every word of ``query`` occurs, best first.

    Parameters
    ----------
    query : str
        Words or parts of words, in any order and case, with or without accents. They are looked for in
        name, tags, note, author, encoder, vocoder, version and rate (``40k``). A voice
        whose name has them goes before one whose tags have them, and that before the rest.
    tags : strings
        The voice has all of them.
    sample_rate, version, has_index : int, str, bool, optional
        The voice has this rate in Hz, this version (``v1`` or ``v2``), an index or none.
    packaged : bool
        Whether to look among the voices that ship with the package too.
    """
    words = _folded(query).split()
    wanted_tags = {_folded(tag) for tag in tags}
    found = []
    for card in list_cards(packaged=packaged):
        fits = (
            sample_rate in (None, card.sample_rate)
            and version in (None, card.version)
            and has_index in (None, card.index_path is not None)
            and wanted_tags <= {_folded(tag) for tag in card.tags}
        )
        ranks = [rank for word in words if (rank := _rank(word, card)) is not None]
        if fits and len(ranks) == len(words):
            found.append((sum(ranks), card))
    found.sort(key=lambda scored: scored[0])  # stable: equals stay in the order of their names
    return [card for _, card in found]


def _rank(word: str, card: VoiceCard) -> int | None:
    """0 for a word of the name, more for a word of what is told of the voice, ``None`` where it is absent."""
    rate = "" if card.sample_rate is None else f"{card.sample_rate / 1000:g}k {card.sample_rate}"
    rest = (card.note, card.author, card.embedder, card.vocoder, card.version, rate)
    places = (card.name, " ".join(card.tags), " ".join(part for part in rest if part))
    return next((rank for rank, place in enumerate(places) if word in _folded(place)), None)


def _folded(text: str) -> str:
    """Without case and accents: who searches often cannot type them."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _card(ref: VoiceRef, packaged: bool) -> VoiceCard:
    record = ref.record
    return VoiceCard(
        name=ref.name,
        model_path=ref.model_path,
        model_bytes=ref.model_path.stat().st_size,
        index_path=ref.index_path,
        index_bytes=ref.index_path.stat().st_size if ref.index_path else None,
        packaged=packaged,
        picture_path=find_picture(ref.own_folder),
        note=record.note,
        tags=record.tags,
        preset=record.preset,
        warnings=ref.warnings,
        **_recorded(record.values),
    )


def _recorded(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a record tells of its model; values of the wrong kind are left out."""
    texts = {name: _text(values.get(name)) for name in ("version", "vocoder", "embedder", "author")}
    numbers = {name: whole(values.get(name)) for name in ("sample_rate", "speakers", "epoch")}
    f0, median = values.get("f0"), values.get("pitch_median_hz")
    median_hz = float(median) if isinstance(median, int | float) and not isinstance(median, bool) else None
    told = {
        "f0": f0 if isinstance(f0, bool) else None,
        "pitch_median_hz": median_hz,
    }
    return {**texts, **numbers, **told}


def _text(value: object) -> str | None:
    return (plain_text(value, MAX_SHOWN_LETTERS) or None) if isinstance(value, str) else None
