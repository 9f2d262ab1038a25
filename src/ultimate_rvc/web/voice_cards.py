"""Voices as cards: HTML with every text escaped, pictures as small copies inside it."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from html import escape
from pathlib import Path

from ultimate_rvc.voices.library import VoiceCard
from ultimate_rvc.web.display import megabytes
from ultimate_rvc.web.texts import Texts

PICTURE_SIDE = 96
# A card is a button, so that the keyboard reaches it; its voice goes to the server as the event's data.
CARD_CLICKS = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('button[data-voice]');
  if (card) trigger('click', {voice: card.dataset.voice});
});
"""


def cards(found: list[VoiceCard], texts: Texts, *, searched: bool) -> str:
    """All cards, or what to do when there are none."""
    if not found:
        key = "voices.none_found" if searched else "voices.none"
        return f'<div class="job empty">{escape(texts(key))}</div>'
    return f'<div class="cards">{"".join(_card(card, texts) for card in found)}</div>'


def _card(card: VoiceCard, texts: Texts) -> str:
    facts = [f"{card.sample_rate / 1000:g} kHz" if card.sample_rate else "", card.version or ""]
    facts += [card.embedder or "", texts("voices.index") if card.index_path else texts("voices.no_index")]
    if card.packaged:
        facts.append(texts("voices.packaged"))
    facts.append(megabytes(card.model_bytes))
    tags = "".join(f'<span class="tag">{escape(tag)}</span>' for tag in card.tags)
    note = f'<span class="note">{escape(card.note[:160])}</span>' if card.note else ""
    line = escape(" · ".join(fact for fact in facts if fact))
    return (
        f'<button type="button" class="card" data-voice="{escape(card.name)}">{_picture(card)}'
        f'<span class="card-text"><b>{escape(card.name)}</b>'
        f'<span class="quiet">{line}</span>{tags}{note}</span></button>'
    )


def _picture(card: VoiceCard) -> str:
    if card.picture_path is not None:
        try:
            data = _small_copy(card.picture_path, card.picture_path.stat().st_mtime_ns)
        except OSError:  # removed meanwhile, or spoilt by hand
            data = ""
        if data:
            return f'<img src="data:image/png;base64,{data}" alt="">'
    return f'<span class="letter" aria-hidden="true">{escape(card.name[:1].upper())}</span>'


@lru_cache(maxsize=500)
def _small_copy(path: Path, changed: int) -> str:
    """A PNG as base64; ``changed`` is part of the key, so that a new picture is drawn anew."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        buffer = io.BytesIO()
        picture.convert("RGBA").save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
