"""Stage times of the conversions of a command, shown when it is done (``RVC_PROFILING=true``)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROFILER_LOGGER = "ultimate_rvc.rvc.infer.optimization.profiler"


class _Profiles(logging.Handler):
    """Keeps each profiler that logs itself, however often: its table is wanted once, at the end."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.profilers: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        (profiler,) = record.args if isinstance(record.args, tuple) else (record.args,)
        if not any(known is profiler for known in self.profilers):
            self.profilers.append(profiler)


@contextmanager
def profile_shown() -> Iterator[None]:
    """Print a table per voice on standard error when the block ends well."""
    logger, profiles = logging.getLogger(PROFILER_LOGGER), _Profiles()
    level = logger.level
    logger.addHandler(profiles)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(profiles)
        logger.setLevel(level)
    for profiler in profiles.profilers:
        sys.stderr.write(f"{profiler}\n")
