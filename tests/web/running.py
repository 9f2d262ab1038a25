"""A server of the page as tests use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ultimate_rvc.jobs.queue import JobQueue


@dataclass
class Running:
    url: str
    queue: JobQueue
    output: Path
    folders: dict[str, str]
    """Variables that say where everything lies."""
