"""The performance log: a line of JSON for each configuration of each run, and what became slower.

The log stays on this machine. Rows are compared when machine, threads, device, models, length of the
audio and configuration are the same; versions may differ, since that is what one wants to know.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ultimate_rvc.paths import home_dir

FALL = 0.10  # a loss of speed above this is pointed out
NOT_COMPARED = frozenset({"enable_profiling"})  # says nothing of how the sound is computed


@dataclass(frozen=True)
class Machine:
    """What must be the same for two rows to be compared."""

    processor: str
    cores: int
    memory_gb: int
    system: str
    """Linux or macOS, without its version."""
    gpu: str | None = None

    def __str__(self) -> str:
        parts = [self.processor, f"{self.cores} cores", f"{self.memory_gb} GB", self.system]
        return ", ".join(parts + ([self.gpu] if self.gpu else []))


@dataclass(frozen=True, kw_only=True)
class LogRow:
    """One configuration of one run; times in seconds, medians over the repeats where not said otherwise."""

    date: str
    """UTC, ISO 8601."""
    machine: Machine
    operating_system: str
    versions: dict[str, str]
    commit: str | None
    """Of the checkout, with ``-dirty`` when files differ from it; None outside a checkout."""
    threads: int
    device: str
    models: str
    seed: int
    audio_seconds: float
    repeats: int
    configuration: str
    settings: dict[str, Any]
    """The fields of its OptimizationConfig, as measured."""
    seconds: float
    seconds_min: float
    seconds_max: float
    cpu_seconds: float
    """Processor time of all threads; other programs hardly change it."""
    real_time_factor: float
    ratio: float
    """Times as fast as the reference of the same run."""
    stages: dict[str, float]
    """Seconds by path; ``outer/inner`` is part of ``outer``."""
    shares: dict[str, float]
    """Each stage's part of ``seconds``."""
    peak_host_mb: float
    peak_device_mb: float | None = None
    max_difference: float | None = None
    """Of the waveform to the reference's, full scale 1; None when the waveform is not finite."""
    mean_difference: float | None = None
    snr_db: float | None = None
    """Against the reference; None when both waveforms are equal, one is silent or this one is not finite."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What a newer version wrote into the row."""

    @property
    def speed(self) -> float:
        """Seconds of audio per second of work."""
        return self.audio_seconds / self.seconds

    def as_dict(self) -> dict[str, Any]:
        content = asdict(self)
        extra: dict[str, Any] = content.pop("extra")
        return content | extra

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> LogRow:
        """Read what :meth:`as_dict` gave; KeyError, TypeError or ValueError when it is something else."""
        known = {entry.name for entry in fields(cls)} - {"extra"}
        values = {key: value for key, value in content.items() if key in known}
        values["machine"] = Machine(**values["machine"])
        row = cls(**values, extra={key: value for key, value in content.items() if key not in known})
        if not (row.seconds > 0 and row.audio_seconds > 0):
            raise ValueError("seconds must be above 0")
        return row


def default_log_path() -> Path:
    return home_dir() / "logs" / "performance.jsonl"


def append_rows(path: Path, rows: Iterable[LogRow]) -> None:
    """Add ``rows`` at the end, in one write, so that two runs at once do not mix their lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row.as_dict(), allow_nan=False) + "\n" for row in rows)
    with path.open("ab") as file:
        file.write(_missing_newline(path) + lines.encode())


def _missing_newline(path: Path) -> bytes:
    """A line that was cut off must not swallow the next one."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return b""
        file.seek(-1, os.SEEK_END)
        return b"" if file.read(1) == b"\n" else b"\n"


def read_rows(path: Path) -> list[LogRow]:
    """The rows of a log, oldest first; lines that are none are told on standard error and left out."""
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows.append(LogRow.from_dict(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError):
            print(f"Line {number} of {path} is no row of a performance log; it is left out.", file=sys.stderr)
    return sorted(rows, key=lambda row: row.date)


# --- comparing ----------------------------------------------------------------------------------


def is_comparable(one: LogRow, other: LogRow) -> bool:
    """Whether the speeds of two rows may be compared.

    Settings that one of the rows does not know are left aside: they were added between the two.
    """
    shared = one.settings.keys() & other.settings.keys() - NOT_COMPARED
    return (one.machine, one.threads, one.device, one.models, one.audio_seconds, one.configuration) == (
        other.machine,
        other.threads,
        other.device,
        other.models,
        other.audio_seconds,
        other.configuration,
    ) and all(one.settings[name] == other.settings[name] for name in shared)


@dataclass(frozen=True)
class Compared:
    """A row beside the last and the fastest comparable rows before it."""

    row: LogRow
    previous: LogRow | None
    best: LogRow | None

    @property
    def change(self) -> float | None:
        """Of the speed against the previous row: -0.15 is a fall of 15 %."""
        return None if self.previous is None else self.row.speed / self.previous.speed - 1

    @property
    def change_to_best(self) -> float | None:
        return None if self.best is None else self.row.speed / self.best.speed - 1

    def falls(self) -> Iterator[str]:
        """A sentence for each of the two that was more than 10 % faster; one if they are the same."""
        others = {"previous": self.previous, "best": self.best}
        if self.previous is self.best:
            del others["best"]
        for word, other in others.items():
            if other is not None and self.row.speed < (1 - FALL) * other.speed:
                yield self._sentence(word, other)

    def _sentence(self, word: str, other: LogRow) -> str:
        row = self.row
        return (
            f"Slower: {row.configuration} on {row.device} of {row.date} ({_origin(row)}) has fallen by "
            f"{1 - row.speed / other.speed:.0%} against the {word} run of {other.date} ({_origin(other)}): "
            f"{row.seconds:.2f} s instead of {other.seconds:.2f} s for {row.audio_seconds:g} s of audio."
        )


def _origin(row: LogRow) -> str:
    return f"torch {row.versions.get('torch', 'unknown')}, commit {row.commit or 'unknown'}"


def compare(rows: Sequence[LogRow]) -> list[Compared]:
    """Each row beside those before it, in the order given (oldest first)."""
    compared = []
    for number, row in enumerate(rows):
        before = [other for other in rows[:number] if is_comparable(row, other)]
        best = max(before, key=lambda other: other.speed, default=None)
        compared.append(Compared(row, before[-1] if before else None, best))
    return compared


# --- showing ------------------------------------------------------------------------------------

COLUMNS = (
    *("date", "commit", "torch", "configuration", "device", "models", "audio s", "seconds", "min", "max"),
    *("RTF", "ratio", "SNR dB", "peak MB", "change", "to best"),
)


def history_lines(rows: Sequence[LogRow]) -> Iterator[str]:
    """A table for each machine, and a sentence for each fall."""
    compared = compare(rows)
    for machine in dict.fromkeys(row.machine for row in rows):
        here = [entry for entry in compared if entry.row.machine == machine]
        yield str(machine)
        yield from _table([COLUMNS, *(_cells(entry) for entry in here)])
        falls = [sentence for entry in here for sentence in entry.falls()]
        yield from falls or [f"No run was more than {FALL:.0%} slower than the one before or the best."]
        yield ""


def _cells(entry: Compared) -> tuple[str, ...]:
    row = entry.row
    return (
        row.date,
        row.commit or "-",
        row.versions.get("torch", "-"),
        row.configuration,
        row.device,
        row.models,
        f"{row.audio_seconds:g}",
        *(f"{value:.2f}" for value in (row.seconds, row.seconds_min, row.seconds_max)),
        f"{row.real_time_factor:.3f}",
        f"{row.ratio:.2f}",
        snr_text(row),
        f"{row.peak_host_mb:.0f}",
        _percent(entry.change),
        _percent(entry.change_to_best),
    )


def snr_text(row: LogRow) -> str:
    """The SNR in dB, or in a word why there is none."""
    if row.max_difference is None:
        return "not finite"
    if row.max_difference == 0:
        return "equal"
    return "-" if row.snr_db is None else f"{row.snr_db:.1f}"


def _percent(change: float | None) -> str:
    return "-" if change is None else f"{change:+.0%}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
