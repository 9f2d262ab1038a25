"""Queues over the fake kinds, closed after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.fake_kinds import TABLE
from ultimate_rvc.jobs.queue import JobQueue
from ultimate_rvc.jobs.settings import QueueSettings


@pytest.fixture
def open_queue(tmp_path: Path) -> Iterator[Callable[..., JobQueue]]:
    opened: list[JobQueue] = []

    def open_(folder: str = "jobs", *, resume: bool = True, **settings: object) -> JobQueue:
        chosen = replace(QueueSettings(), **settings)  # type: ignore[arg-type]
        opened.append(JobQueue(tmp_path / folder, chosen, kinds=TABLE, resume=resume))
        return opened[-1]

    yield open_
    for queue in opened:
        queue.close()
