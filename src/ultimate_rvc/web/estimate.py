"""Before a cover is asked for: the quality it is made with, and how long it takes on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from threading import Lock
from typing import Any

from ultimate_rvc.choices import Quality
from ultimate_rvc.covers.forecast import Forecast, cover_forecast
from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.covers.sources import DEMO_FILE
from ultimate_rvc.device import resolve_device
from ultimate_rvc.machine import Machine, this_machine
from ultimate_rvc.paths import packaged_assets_dir
from ultimate_rvc.plain import from_plain
from ultimate_rvc.separation.models import SeparationTask
from ultimate_rvc.switches import resolve_config
from ultimate_rvc.web import display
from ultimate_rvc.web.texts import Texts
from ultimate_rvc.work.kinds import NO_COVER_SETTINGS
from ultimate_rvc.work.requests import DEMO_SOURCE

USUAL_SECONDS = 180.0  # of a song whose length is not known
MEASURED_ONCE = Lock()  # two measurements at a time would each find a machine that is busy


@dataclass(frozen=True)
class Lengths:
    """The songs that are to be covered, as far as they are known."""

    seconds: tuple[float, ...]
    """Of each song; of a usual one where there is none, or where it is not known yet."""
    words: str
    """The key of the sentence that says which song this is."""

    @classmethod
    def of(cls, uploads: Sequence[str] | None, link: str | None) -> Lengths:
        """
        Raises
        ------
        AudioError
            A file holds no audio.
        """
        link = (link or "").strip()
        if uploads:
            seconds = tuple(song_seconds(Path(upload)) for upload in uploads)
            return cls(seconds, "estimate.song" if len(seconds) == 1 else "estimate.songs")
        if link == DEMO_SOURCE:
            return cls((demo_seconds(),), "estimate.song")
        return cls((USUAL_SECONDS,), "estimate.link" if link else "estimate.no_song")


@dataclass(frozen=True)
class Estimate:
    """What is known before the work of one song, or of several that are made one after the other."""

    lengths: Lengths
    forecasts: tuple[Forecast, ...]

    @property
    def qualities(self) -> list[Quality]:
        """What is chosen: for songs of several lengths that may be more than one."""
        return list(dict.fromkeys(each.quality for each in self.forecasts))

    @property
    def models(self) -> list[tuple[SeparationTask, str]]:
        """The networks that are needed, each once."""
        return list(dict.fromkeys(pair for each in self.forecasts for pair in each.plan.models.items()))


def estimate(lengths: Lengths, cover: CoverSettings, machine: Machine) -> Estimate:
    """Look ahead at a cover of each song."""
    return Estimate(lengths, tuple(cover_forecast(seconds, cover, machine) for seconds in lengths.seconds))


def line(found: Estimate, texts: Texts) -> str:
    """The estimate as HTML in the page's language."""
    forecasts, qualities = found.forecasts, found.qualities

    def told(key: str, names: Sequence[Quality], seconds: float) -> str:
        words = texts("estimate.or").join(texts(f"quality.{name}") for name in names)
        return texts(key, quality=words, time=display.duration(seconds, texts))

    is_auto = forecasts[0].asked is Quality.AUTO
    chosen = told(
        "estimate.auto" if is_auto else "estimate.chosen",
        qualities,
        sum(each.seconds[each.quality] for each in forecasts),
    )
    others = [
        told("estimate.other", [quality], sum(each.seconds[quality] for each in forecasts))
        for quality in forecasts[0].seconds
        if [quality] != qualities
    ]
    song = texts(
        found.lengths.words,
        time=display.clock(sum(found.lengths.seconds)),
        count=len(found.lengths.seconds),
    )
    rest = escape(texts("estimate.rest", others=texts("estimate.and").join(others)))
    return f'<p class="estimate"><b>{escape(chosen)}</b>{rest} <span class="quiet">{escape(song)}</span></p>'


def cover_settings(given: Mapping[str, Any]) -> CoverSettings:
    """
    Raises
    ------
    SettingError
        A key is none, or a value is outside its range.
    """
    return from_plain(CoverSettings, given, "cover", leave_out=NO_COVER_SETTINGS)


def machine_for(optimization: Mapping[str, Any]) -> Machine:
    """What is known of the device of a job with these switches; measured the first time, in about a second.

    Raises
    ------
    SettingError
        A switch is none, or its device is not there.
    """
    device = resolve_device(resolve_config(optimization).config.devices[0])
    with MEASURED_ONCE:
        return this_machine(device)


def demo_seconds() -> float:
    return song_seconds(packaged_assets_dir() / DEMO_FILE)


def song_seconds(path: Path) -> float:
    """
    Raises
    ------
    AudioError
        The file is missing or holds no audio.
    """
    return _probed(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=256)
def _probed(path: Path, changed_ns: int) -> float:
    """Looked at once: a file that does not say its length is decoded for it."""
    from ultimate_rvc.audio.decode import probe

    return probe(path).duration_seconds
