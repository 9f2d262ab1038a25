"""What commands show: a progress bar while they work, then a table or one JSON object.

Standard output carries results only; progress and warnings go to standard error, so that
``--json`` can be piped.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from ultimate_rvc.progress import Progress

log = logging.getLogger(__name__)


@contextmanager
def log_shown(*, debug: bool) -> Iterator[None]:
    """Show what is logged on standard error: warnings, and with ``debug`` our details and others' news."""
    root, ours = logging.getLogger(), logging.getLogger("ultimate_rvc")
    levels = root.level, ours.level
    handler = _StandardError()
    if debug:
        root.setLevel(logging.INFO)
        ours.setLevel(logging.DEBUG)
        handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    else:
        handler.setLevel(logging.WARNING)
        handler.setFormatter(logging.Formatter("warning: %(message)s"))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        ours.setLevel(levels[1])


class _StandardError(logging.StreamHandler[TextIO]):
    """Says each warning once.

    A step logs its warnings when they arise, which may be hours before the end; its result carries them
    too, for a step found in the cache logs nothing. Who decodes a file twice hears of its damage twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            try:
                sentence = record.getMessage()
            except (TypeError, ValueError):  # a library's mistake, which logging itself reports
                sentence = str(record.msg)
            if sentence in self._said:
                return
            self._said.add(sentence)
        self.stream = sys.stderr  # which the progress bar exchanges, so that lines go above it
        super().emit(record)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar with step, percentage and time left on standard error; plain lines when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Progress(_line_per_step(), _write_line)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        current = ""

        def show(step: str, fraction: float, text: str) -> None:
            nonlocal current
            if step != current:
                current = step
                bar.reset(task, description=step)
            bar.update(task, completed=fraction, description=f"{step}: {text}" if text else step)

        yield Progress(show, lambda sentence: bar.console.print(sentence, highlight=False, markup=False))


def _line_per_step() -> Any:
    shown: set[str] = set()

    def show(step: str, fraction: float, text: str) -> None:
        if step not in shown:
            shown.add(step)
            _write_line(step)

    return show


def _write_line(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def show_json(result: Mapping[str, Any] | Sequence[Any]) -> None:
    sys.stdout.write(json.dumps(result, ensure_ascii=False, indent=2, default=str) + "\n")


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def show_line(text: str) -> None:
    sys.stdout.write(text + "\n")


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table that stays readable when piped into a file: no colours, no truncation."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        show_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_optimization(switches: Sequence[Mapping[str, Any]]) -> None:
    """The switches that work was done with, and where each value came from, on standard error."""
    decided: dict[str, list[str]] = {}
    for switch in sorted(switches, key=lambda switch: _rank(switch["origin"])):
        value = switch["value"]
        shown = str(value).lower() if isinstance(value, bool) else value
        decided.setdefault(switch["origin"], []).append(f"{switch['name']} {shown}")
    lines = [f"  {', '.join(values)} ({origin})\n" for origin, values in decided.items()]
    sys.stderr.write("".join(["optimisation:\n", *lines]))


def _rank(origin: str) -> int:
    """What was asked for first, the usual defaults last."""
    return next(rank for rank, start in enumerate(("--", "RVC_", "URVC_", "")) if origin.startswith(start))


def show_warning(text: str) -> None:
    log.warning("%s", text)
