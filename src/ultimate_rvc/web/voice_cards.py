"""Voices as cards: HTML with every text escaped, pictures as small copies inside it."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from html import escape
from pathlib import Path

from ultimate_rvc.voices.library import VoiceCard
from ultimate_rvc.web.display import nothing_yet
from ultimate_rvc.web.players import Sound, play_button
from ultimate_rvc.web.texts import Texts
from ultimate_rvc.web.voice_samples import sample_of

PICTURE_SIDE = 96
SHOWN_LETTERS = 160  # of a note
# Where each range of pitch ends, in Hz of the median: words for people who think of voices and not of frequencies.
PITCH_RANGES = (
    ("very_low", 105.0),
    ("low", 150.0),
    ("middle", 185.0),
    ("high", 250.0),
    ("very_high", float("inf")),
)
# What is pressed goes to the server as the event's data; where it leads is opened here.
CARD_CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-voice], button[data-do]');
  if (!button) return;
  const voice = (button.closest('[data-card]') ?? button).dataset.card ?? button.dataset.voice;
  const wish = button.dataset.do ?? 'show';
  trigger('click', {voice, wish});
  if (wish === 'cover' || wish === 'speech') urvcGo(wish);
});
"""


def cards(found: list[VoiceCard], texts: Texts, *, searched: bool) -> str:
    """All cards, or what to do when there are none."""
    if not found:
        key = "voices.none_found" if searched else "voices.none"
        return nothing_yet(texts(key))
    return f'<div class="cards">{"".join(card(each, texts) for each in found)}</div>'


def card(known: VoiceCard, texts: Texts) -> str:
    """One voice: who it is, what it sounds like, and what can be done with it."""
    facts = [pitch_words(known, texts)]
    if known.packaged:
        facts.append(texts("voices.packaged"))
    tags = "".join(f'<span class="tag">{escape(tag)}</span>' for tag in known.tags)
    note = f'<span class="note">{escape(known.note[:SHOWN_LETTERS])}</span>' if known.note else ""
    name = escape(known.name)
    wishes = "".join(
        f'<button type="button" data-do="{wish}" aria-label="{escape(texts(f"voices.do.{wish}"))}: {name}">'
        f"{escape(texts(f'voices.do.{wish}'))}</button>"
        for wish in ("cover", "speech")
    )
    return (
        f'<article class="card" data-card="{name}">{picture(known)}<div class="card-text">'
        f'<button type="button" class="card-name" data-voice="{name}">{name}</button>'
        f'<span class="quiet">{escape(" · ".join(filter(None, facts)))}</span>{tags}{note}'
        f'<span class="card-foot">{wishes}</span></div>{_play(known, texts)}</article>'
    )


def _play(known: VoiceCard, texts: Texts) -> str:
    """Its sample; where there is none yet, a button that asks for one."""
    sample = sample_of(known)
    if sample is not None:
        return play_button(Sound(known.name, sample), texts)
    words = f"{texts('voices.do.sample')}: {known.name}"
    button = f'<button type="button" class="play" data-do="sample" aria-label="{escape(words)}"></button>'
    return f'<span class="mini">{button}</span>'


def pitch_words(known: VoiceCard, texts: Texts) -> str:
    """Where a voice is at home, in words; nothing where its file does not tell."""
    hz = known.pitch_median_hz
    if not hz:
        return texts("voices.no_pitch") if known.f0 is False else ""
    return texts(f"pitch_range.{next(name for name, end in PITCH_RANGES if hz < end)}")


def picture(known: VoiceCard) -> str:
    """Its picture, small; without one its first letter."""
    if known.picture_path is not None:
        try:
            data = _small_copy(known.picture_path, known.picture_path.stat().st_mtime_ns)
        except OSError:  # removed meanwhile, or spoilt by hand
            data = ""
        if data:
            return f'<img src="data:image/png;base64,{data}" alt="">'
    return f'<span class="letter" aria-hidden="true">{escape(known.name[:1].upper())}</span>'


@lru_cache(maxsize=500)
def _small_copy(path: Path, changed: int) -> str:
    """A PNG as base64; ``changed`` is part of the key, so that a new picture is drawn anew."""
    from PIL import Image

    with Image.open(path) as opened:
        opened.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        buffer = io.BytesIO()
        opened.convert("RGBA").save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
