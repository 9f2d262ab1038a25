"""Players for what a job made: HTML that ``sound.js`` and ``mixer.js`` bring to life, every text escaped.

Gradio's own player has controls of too little contrast, cannot be told the theme's colours, and knows one file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import numpy as np

from ultimate_rvc.audio.decode import decode_mono
from ultimate_rvc.covers.settings import OVERLAP_SECONDS
from ultimate_rvc.errors import AudioError
from ultimate_rvc.web.display import clock
from ultimate_rvc.web.estimate import song_seconds
from ultimate_rvc.web.stems import Track
from ultimate_rvc.web.texts import Texts

BARS = 240  # of a waveform
LOOK_RATE = 4000  # Hz at which a file is read for its waveform: its loudness is seen, not its sound
LONGEST_DRAWN = 1200.0  # seconds; reading a longer file takes longer than a page may wait
HEIGHT = 100  # of the drawing, in its own units
LEAST_BAR = 2.0


@dataclass(frozen=True)
class Sound:
    """A file to hear, and what it is called."""

    label: str
    path: Path


def player_place(**look: Any) -> gr.HTML:
    """Where a player will be; hidden until there is something to hear."""
    return gr.HTML(visible=False, padding=False, **look)


def player_update(sounds: Sequence[Sound], texts: Texts, title: str = "") -> gr.HTML:
    """What such a place becomes: a player, or nothing without a sound."""
    return gr.HTML(player(sounds, texts, title), visible=bool(sounds))


def player(sounds: Sequence[Sound], texts: Texts, title: str = "") -> str:
    """A player of the first sound; a switch turns to the others at the same moment."""
    if not sounds:
        return ""
    first = sounds[0]
    name = title or first.label
    audios = "".join(
        f'<audio preload="{"metadata" if sound is first else "none"}" src="{address(sound.path)}"></audio>'
        for sound in sounds
    )
    waves = "".join(
        f"<g{'' if sound is first else ' hidden'}>{_wave(waveform(sound.path))}</g>" for sound in sounds
    )
    seconds = seconds_of(first.path)
    words = _words(texts)
    return (
        f'<div class="player" role="group" aria-label="{escape(name)}" data-player data-seconds="{seconds:.3f}"'
        f" {_data(words)}>{audios}"
        f'<button type="button" class="play" aria-label="{escape(words["play"])}"></button>'
        f'<div class="player-middle"><div class="player-head"><b>{escape(name)}</b>{_switch(sounds, texts)}</div>'
        f'<div class="wave" role="slider" tabindex="0" aria-label="{escape(texts("player.position"))}" '
        f'aria-valuemin="0" aria-valuemax="{round(seconds)}" aria-valuenow="0">'
        f'<svg viewBox="0 0 {BARS} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{waves}</svg></div>'
        f'<div class="player-foot"><span class="time">0:00 / {clock(seconds)}</span>'
        f'<span class="problem" role="alert"></span>{_download(first, texts)}</div></div></div>'
    )


def play_button(sound: Sound, texts: Texts) -> str:
    """A player that is one button, for a list of many: nothing is fetched before it is pressed."""
    words = _words(texts, f": {sound.label}")
    return (
        f'<span class="mini" data-player {_data(words)}>'
        f'<audio preload="none" src="{address(sound.path)}"></audio>'
        f'<button type="button" class="play" aria-label="{escape(words["play"])}"></button>'
        '<span class="problem" role="alert"></span></span>'
    )


def mixer(tracks: Sequence[Track], texts: Texts) -> str:
    """All tracks at the same moment, each to be muted, heard alone, turned down or fetched."""
    if not tracks:
        return ""
    rows = "".join(_row(track, texts) for track in tracks)
    position = escape(texts("player.position"))
    words = _words(texts)
    return (
        f'<urvc-mixer {_data(words)} data-shared="{OVERLAP_SECONDS:g}">'
        '<div class="mixer-head">'
        f'<button type="button" class="play" aria-label="{escape(words["play"])}"></button>'
        f'<input type="range" class="position" min="0" max="1" step="0.01" value="0" aria-label="{position}">'
        '<span class="time">0:00</span></div>'
        f'<span class="problem" role="alert"></span><ul>{rows}</ul></urvc-mixer>'
    )


def _words(texts: Texts, what: str = "") -> dict[str, str]:
    """What the script says for its button, and of ``what``; and where a browser cannot play."""
    said = {name: f"{texts(f'player.{name}')}{what}" for name in ("play", "pause")}
    return said | {"unplayable": texts("player.unplayable")}


def _data(words: Mapping[str, str]) -> str:
    """As an attribute."""
    return f'data-words="{escape(json.dumps(words, ensure_ascii=False))}"'


def _row(track: Track, texts: Texts) -> str:
    parts = escape(json.dumps([address(path) for path in track.paths]))
    label = escape(track.label)

    def switch(name: str, pressed: bool) -> str:
        told = escape(texts(f"player.{name}"))
        return (
            f'<button type="button" class="{name}" aria-pressed="{str(pressed).lower()}" '
            f'aria-label="{told}: {label}">{told}</button>'
        )

    fetched = "".join(_download(Sound(track.label, path), texts) for path in track.paths[:1])
    return (
        f"<li data-parts='{parts}'><span>{label}</span>{switch('mute', not track.plays)}{switch('solo', False)}"
        f'<input type="range" class="volume" min="0" max="1.5" step="0.05" value="1" '
        f'aria-label="{escape(texts("player.volume"))}: {label}">{fetched}</li>'
    )


def _switch(sounds: Sequence[Sound], texts: Texts) -> str:
    """Buttons that turn to another sound; none for a single one."""
    if len(sounds) == 1:
        return ""
    buttons = "".join(
        f'<button type="button" data-side="{number}" aria-pressed="{"false" if number else "true"}">'
        f"{escape(sound.label)}</button>"
        for number, sound in enumerate(sounds)
    )
    return f'<span class="sides" role="group" aria-label="{escape(texts("player.compare"))}">{buttons}</span>'


def _download(sound: Sound, texts: Texts) -> str:
    words = escape(texts("player.download"))
    return (
        f'<a class="download" href="{address(sound.path)}" download="{escape(sound.path.name)}" '
        f'aria-label="{words}: {escape(sound.label)}">{words}</a>'
    )


def address(path: Path) -> str:
    """Where the server gives a file; relative, so that it holds behind a proxy as well."""
    return f"gradio_api/file={quote(str(path))}"  # which leaves nothing that HTML would read


def seconds_of(path: Path) -> float:
    """Length of a sound; 0 where it says none."""
    try:
        return song_seconds(path)
    except AudioError:
        return 0.0


def waveform(path: Path) -> tuple[float, ...]:
    """Loudness of a file in ``BARS`` equal parts, 0 to 1; nothing for one that is too long to be looked through."""
    try:
        return _looked_through(path, path.stat().st_mtime_ns)
    except (OSError, AudioError):  # removed meanwhile, or no sound: the player says what it cannot play
        return ()


@lru_cache(maxsize=256)
def _looked_through(path: Path, changed_ns: int) -> tuple[float, ...]:
    """``changed_ns`` is part of the key, so that a changed file is read again."""
    if song_seconds(path) > LONGEST_DRAWN:
        return ()
    sound = np.abs(decode_mono(path, LOOK_RATE))
    if not sound.size:
        return ()
    edges = np.linspace(0, len(sound), BARS + 1).astype(int)[:-1]
    bars = np.maximum.reduceat(sound, edges)
    return tuple((bars / max(float(bars.max()), 1e-9)).round(2).tolist())


def _wave(bars: Sequence[float]) -> str:
    """One line through the middle for each bar."""
    if not bars:
        return f'<path d="M0 {HEIGHT / 2:g}h{BARS}"/>'
    heights = [max(LEAST_BAR, HEIGHT * bar) for bar in bars]
    lines = "".join(
        f"M{number + 0.5:g} {HEIGHT / 2 - height / 2:.0f}v{height:.0f}"
        for number, height in enumerate(heights)
    )
    return f'<path d="{lines}"/>'
