"""What can be said of a source without fetching it."""

from __future__ import annotations

from ultimate_rvc.covers.settings import SourceSettings
from ultimate_rvc.errors import SourceError


def is_url(source: str) -> bool:
    return "://" in source


def check_duration(name: str, duration_seconds: float | None, settings: SourceSettings) -> None:
    """Raise :class:`SourceError` when a song of known length is longer than allowed."""
    if duration_seconds is not None and duration_seconds > settings.max_minutes * 60:
        raise SourceError(
            f"{name} is {duration_seconds / 60:.1f} minutes long, but max_minutes allows "
            f"{settings.max_minutes:g}; choose another song or raise it.",
            "max_minutes",
        )
