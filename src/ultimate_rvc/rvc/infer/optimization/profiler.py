"""Where the time of a conversion goes: named, nested stages with their share, memory and speed."""

from __future__ import annotations

import json
import logging
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ultimate_rvc.device import wait_for

log = logging.getLogger(__name__)

SEPARATOR = "/"  # between a stage and the stage it runs in: "convert/vocoder"
_NOTHING: AbstractContextManager[None] = nullcontext()  # one object for all disabled stages: no allocation
_KIB = 1024
_BYTES_PER_MAXRSS = 1 if sys.platform == "darwin" else _KIB  # macOS counts bytes, Linux KiB


@dataclass
class _Stage:
    seconds: float = 0.0
    calls: int = 0


@dataclass(frozen=True)
class StageReport:
    """One stage of a report. ``name`` is its path; ``share`` is of the time of all outermost stages."""

    name: str
    seconds: float
    calls: int
    share: float


class StageTable(list[StageReport]):
    """The stages of a report; as text, a table of them with nested stages indented."""

    def __init__(
        self, stages: Iterable[StageReport], total_seconds: float, real_time_factor: float | None
    ) -> None:
        super().__init__(stages)
        self.total_seconds = total_seconds
        self.real_time_factor = real_time_factor

    def __str__(self) -> str:
        lines = [f"{'stage':<32}{'calls':>7}{'seconds':>10}{'share':>8}"]
        for stage in self:
            depth = stage.name.count(SEPARATOR)
            label = "  " * depth + stage.name.rpartition(SEPARATOR)[2]
            lines.append(f"{label:<32}{stage.calls:>7}{stage.seconds:>10.3f}{stage.share:>8.1%}")
        factor = "" if self.real_time_factor is None else f"   RTF {self.real_time_factor:.3f}"
        lines.append(f"{'total':<39}{self.total_seconds:>10.3f}{factor}")
        return "\n".join(lines)


@dataclass
class PerformanceProfiler:
    """Measures named stages; disabled it costs next to nothing and never waits for the device.

    Parameters
    ----------
    enabled : bool
        Whether anything is measured at all.
    device : torch.device
        Synchronised at the borders of stages when enabled, since GPU work is queued and returns at once.
    clock : callable
        Seconds from any origin; tests pass their own.

    Examples
    --------
    >>> profiler = PerformanceProfiler(enabled=True)
    >>> with profiler.stage("f0"):
    ...     pass
    >>> profiler.report()[0].name
    'f0'
    """

    enabled: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    clock: Callable[[], float] = time.perf_counter
    audio_seconds: float = 0.0
    """Length of the audio worked on, for the real-time factor; added to by whoever knows it."""

    def __post_init__(self) -> None:
        self._stages: dict[str, _Stage] = {}
        self._threads = threading.local()

    @property
    def _open(self) -> list[tuple[str, float]]:
        """The open stages of this thread: path, and when each began."""
        opened: list[tuple[str, float]] = self._threads.__dict__.setdefault("open", [])
        return opened

    def start(self, name: str) -> None:
        """Open the stage ``name`` inside the innermost open one; a ``/`` in it would be taken for two."""
        if self.enabled:
            if SEPARATOR in name:
                raise ValueError(f"stage {name!r} has a {SEPARATOR!r} in its name")
            wait_for(self.device)
            path = f"{self._open[-1][0]}{SEPARATOR}{name}" if self._open else name
            # Entered in order of first start, so that a report reads like the story it measures.
            self._stages.setdefault(path, _Stage())
            self._open.append((path, self.clock()))

    def end(self, name: str) -> None:
        """Close the innermost open stage ``name`` and whatever was left open inside it.

        Raises
        ------
        ValueError
            If no stage of that name is open.
        """
        if not self.enabled:
            return
        names = [path.rpartition(SEPARATOR)[2] for path, _ in self._open]
        if name not in names:
            raise ValueError(f"stage {name!r} is not open")
        wait_for(self.device)
        now = self.clock()
        closing = None
        while closing != name:
            path, started = self._open.pop()
            closing = names.pop()
            self._stages[path].seconds += now - started
            self._stages[path].calls += 1

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Measure a ``with`` block; an exception closes the stage as well."""
        return self._measured(name) if self.enabled else _NOTHING

    @contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        self.start(name)
        try:
            yield
        finally:
            self.end(name)

    def report(self) -> StageTable:
        """Every closed stage, in the order in which they first began; printed, it is a table."""
        total = self.total_seconds
        stages = (
            StageReport(name, stage.seconds, stage.calls, stage.seconds / total if total else 0.0)
            for name, stage in self._stages.items()
            if stage.calls
        )
        return StageTable(stages, total, self.real_time_factor)

    @property
    def total_seconds(self) -> float:
        """The time of all outermost stages."""
        return sum(stage.seconds for name, stage in self._stages.items() if SEPARATOR not in name)

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work per second of audio; ``None`` when no audio length is known."""
        return self.total_seconds / self.audio_seconds if self.audio_seconds else None

    def reset(self) -> None:
        """Forget everything measured."""
        self._stages.clear()
        self._open.clear()
        self.audio_seconds = 0.0
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def to_json(self) -> str:
        """The report as a JSON object: device, total, real-time factor, memory peaks and stages."""
        return json.dumps(self.as_dict(), indent=2)

    def as_dict(self) -> dict[str, Any]:
        """What :meth:`to_json` writes."""
        return {
            "device": str(self.device),
            "total_seconds": self.total_seconds,
            "audio_seconds": self.audio_seconds,
            "real_time_factor": self.real_time_factor,
            "peak_host_bytes": peak_host_bytes(),
            "peak_device_bytes": peak_device_bytes(self.device),
            "stages": [vars(stage) for stage in self.report()],
        }

    def log(self) -> None:
        """Hand itself to the log, for whoever shows the table when the work is done."""
        if self.enabled:
            log.info("%s", self)

    def __str__(self) -> str:
        return str(self.report())

    def plot(self, path: Path) -> None:
        """Draw the innermost stages as bars into a picture file."""
        from matplotlib.figure import Figure

        stages = self.report()
        leaves = [s for s in stages if not any(o.name.startswith(s.name + SEPARATOR) for o in stages)]
        figure = Figure(figsize=(8, 0.4 * len(leaves) + 1.2), layout="constrained")
        axes = figure.add_subplot()
        axes.barh([stage.name for stage in leaves], [stage.seconds for stage in leaves], color="#3a6ea5")
        axes.invert_yaxis()
        axes.set_xlabel("seconds")
        axes.set_title(f"{self.total_seconds:.2f} s on {self.device}")
        figure.savefig(path)


def peak_host_bytes() -> int:
    """Largest resident memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_MAXRSS


def peak_device_bytes(device: torch.device) -> int | None:
    """Peak of the device's allocator; for MPS, which keeps none, what it holds now; ``None`` on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return torch.mps.driver_allocated_memory() if device.type == "mps" else None
