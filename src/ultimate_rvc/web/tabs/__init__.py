"""The tabs of the page, one module each, in the order of the navigation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ultimate_rvc.web.desk import Desk
from ultimate_rvc.web.panel import JobPanel
from ultimate_rvc.web.tabs import convert, cover, jobs, live, settings, speech, train, voices

TABS: dict[str, Callable[[Desk], Sequence[JobPanel]]] = {
    "cover": cover.build,
    "convert": convert.build,
    "speech": speech.build,
    "live": live.build,
    "voices": voices.build,
    "train": train.build,
    "jobs": jobs.build,
    "settings": settings.build,
}
"""By name, which is also that of its texts: what lays it out and returns its panels that outlive a reload."""
