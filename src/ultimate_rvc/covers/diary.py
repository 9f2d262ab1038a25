"""What happens while a cover is made: its steps and their times, warnings, and what the machine is to remember."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ultimate_rvc.covers.cache import CacheEntry
from ultimate_rvc.covers.forecast import comparable_seconds
from ultimate_rvc.covers.steps import Workshop
from ultimate_rvc.machine import Machine
from ultimate_rvc.progress import StepTime
from ultimate_rvc.separation.qualities import StemPlan

Piece = TypeVar("Piece")


@dataclass
class Diary:
    """What one run works with, and what happened in it."""

    shop: Workshop
    machine: Machine
    steps: list[StepTime] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    """Seconds that work took which the machine is to remember, by its name there."""

    def step(self, name: str, work: Callable[[], CacheEntry]) -> CacheEntry:
        """Do one step and note what it took."""
        started = time.perf_counter()
        entry = work()
        self.note(name, started, [entry])
        return entry

    def each(
        self,
        name: str,
        pieces: Sequence[Piece],
        work: Callable[[Piece, Workshop], CacheEntry],
        remember_as: str = "",
    ) -> list[CacheEntry]:
        """Do one step with every piece of a song, which is noted as one."""
        started = time.perf_counter()
        entries = []
        for number, piece in enumerate(pieces):
            progress = self.shop.progress.piece(number, len(pieces))
            entries.append(work(piece, replace(self.shop, progress=progress)))
        self.note(name, started, entries)
        if remember_as and not any(entry.cached for entry in entries):
            self.times[remember_as] = self.steps[-1].seconds
        return entries

    def note(self, name: str, started: float, entries: Sequence[CacheEntry]) -> None:
        """Keep a step's time and files; what is said of every piece of a song is said of the song."""
        files = tuple(file.path for entry in entries for file in entry.files.values())
        cached = all(entry.cached for entry in entries)
        self.steps.append(StepTime(name, time.perf_counter() - started, cached, files))
        said = [entry.facts.get("warnings", ()) for entry in entries]
        self.warn(*(warning for warning in said[0] if all(warning in others for others in said)))

    def warn(self, *warnings: str) -> None:
        self.warnings.extend(warning for warning in warnings if warning not in self.warnings)

    def remember(self, plan: StemPlan, song_seconds: float) -> None:
        """Let the machine remember what the work of this cover took, once it is whole."""
        for work, seconds in self.times.items():
            self.machine.note(work, comparable_seconds(work, seconds, plan, song_seconds), song_seconds)
