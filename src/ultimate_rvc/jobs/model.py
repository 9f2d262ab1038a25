"""What a job is: its settings, where it stands, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ultimate_rvc.plain import to_plain
from ultimate_rvc.work.result import WorkResult


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # it ran when the server ended

    @property
    def is_finished(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it stands at one moment; a later moment is another object. Times are Unix time in seconds."""

    id: int
    kind: str
    title: str
    """What it does, for people: ``song.mp3 by demo``."""
    settings: Mapping[str, Any]
    """All of them, those left out included, as :meth:`JobQueue.submit` takes them."""
    client: str = ""
    """Who asked for it; clients take turns."""
    group: str | None = None
    """What the jobs of one playlist share."""
    rerun_of: int | None = None
    state: JobState = JobState.QUEUED
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    step: str = ""
    step_fraction: float = 0.0
    """Of the step, 0 to 1."""
    text: str = ""
    """What the step says of itself, such as the file it works on."""
    fraction: float = 0.0
    """Of the whole job, 0 to 1; it never goes back."""
    seconds_left: float | None = None
    """Guessed from the time it took so far; None as long as nothing can be said."""
    cancel_wanted: bool = False
    """Whether it is being cancelled."""
    error: str | None = None
    """One sentence, once it failed or was interrupted."""
    details: str | None = None
    """The traceback, for a bug report."""
    result: WorkResult | None = None

    @property
    def elapsed_seconds(self) -> float | None:
        """From its start to its end; None until it ended."""
        if self.started is None or self.finished is None:
            return None
        return max(self.finished - self.started, 0.0)

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        plain: dict[str, Any] = to_plain(self)
        return plain | {"elapsed_seconds": self.elapsed_seconds}
