"""What came of a piece of work: its files, the times of its steps, what to warn of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultimate_rvc.plain import from_plain, to_plain
from ultimate_rvc.progress import StepTime


@dataclass(frozen=True)
class ResultFile:
    """A file that a job made; ``role`` says what is in it, such as ``cover`` or ``vocals``."""

    role: str
    path: Path
    source: str | None = None
    """Which of several inputs it comes from."""


@dataclass(frozen=True)
class WorkResult:
    """What came of a job, as it is kept with it."""

    files: tuple[ResultFile, ...] = ()
    steps: tuple[StepTime, ...] = ()
    warnings: tuple[str, ...] = ()
    device: str | None = None
    """Where it was computed; None where nothing was."""
    precision: str | None = None
    """``float32``, ``float16`` or ``bfloat16``."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a kind has to say beyond that (docs/jobs.md lists it): anything JSON can hold."""

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> WorkResult:
        return from_plain(cls, plain)
