"""Jobs as cards: HTML with every text escaped; Play is a player, Open and Run again go to the server."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from html import escape

from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.jobs.model import Job
from ultimate_rvc.jobs.outside import KINDS_WITH_FILES, files_there
from ultimate_rvc.voices.library import voice_card
from ultimate_rvc.web import display
from ultimate_rvc.web.players import Sound, play_button
from ultimate_rvc.web.texts import Texts
from ultimate_rvc.web.voice_cards import picture

SOUNDING = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")
# What was pressed goes to the server as the event's data; the opened job is the page's address as well.
CARD_CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-open], button[data-again]');
  if (!button) return;
  const job = button.closest('[data-job]').dataset.job;
  if (button.matches('[data-open]')) urvcGo(`jobs/${job}`);
  trigger('click', {job: Number(job), again: button.matches('[data-again]')});
});
"""


def cards(jobs: Sequence[Job], opened: int | None, texts: Texts) -> str:
    """The jobs as they are given, or what to do when there are none."""
    if not jobs:
        return display.nothing_yet(texts("jobs.empty"))
    picture_of = functools.cache(_picture)  # many jobs are of one voice
    shown = (_card(job, job.id == opened, picture_of(*_voice_of(job)), texts) for job in jobs)
    return f'<div class="job-cards">{"".join(shown)}</div>'


def sounds_of(job: Job | None) -> list[Sound]:
    """What a job made that can be heard; voices and models lie in folders that the page does not serve."""
    if job is None or job.kind not in KINDS_WITH_FILES:
        return []
    return [
        Sound(file.path.stem, file.path) for file in files_there(job) if file.path.suffix.lower() in SOUNDING
    ]


def _card(job: Job, is_open: bool, drawn: str, texts: Texts) -> str:
    when = datetime.fromtimestamp(job.created).strftime("%Y-%m-%d %H:%M")
    took = job.elapsed_seconds
    facts = [texts.named("kind", job.kind), when, *([display.clock(took)] if took is not None else [])]
    sounds = sounds_of(job)
    title = escape(display.title(job, texts))
    current = ' aria-current="true"' if is_open else ""
    again = (
        f'<button type="button" data-again aria-label="{escape(texts("jobs.again.go"))}: {title}">'
        f"{escape(texts('jobs.again.go'))}</button>"
        if job.state.is_finished
        else ""
    )
    return (
        f'<article class="job-card" data-job="{job.id}"{current}>{drawn}'
        f'<div class="card-text"><b>{title}</b><span class="quiet">{escape(" · ".join(facts))}</span>'
        f'<span class="job-card-foot">{display.badge(job, texts)}'
        f'<button type="button" data-open aria-label="{escape(texts("jobs.open"))}: {title}">'
        f"{escape(texts('jobs.open'))}</button>{again}</span></div>"
        f"{play_button(sounds[0], texts) if sounds else ''}</article>"
    )


def _voice_of(job: Job) -> tuple[str, str]:
    """The voice of a job, or nothing; and its kind, whose letter stands for a picture."""
    return str(job.settings.get("voice") or ""), job.kind


def _picture(voice: str, kind: str) -> str:
    """That of the voice, as far as it is still here."""
    try:
        return picture(voice_card(voice))
    except UltimateRVCError:
        return f'<span class="letter" aria-hidden="true">{escape(kind[:1].upper())}</span>'
