"""Whose turn it is: clients in rotation, each client's jobs in the order they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator


class FairOrder:
    """Ids of waiting jobs. Not thread-safe: whoever shares it holds a lock."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[int]] = {}  # in the order of turns

    def add(self, client: str, job_id: int) -> None:
        self._lines.setdefault(client, deque()).append(job_id)

    def take(self, fits: Callable[[int], bool] = lambda _: True) -> int | None:
        """Remove and return the first in turn that ``fits``; its client goes to the end of the rotation."""
        for job_id in self:
            if fits(job_id):
                client = next(client for client, line in self._lines.items() if job_id in line)
                line = self._lines.pop(client)
                line.remove(job_id)
                if line:
                    self._lines[client] = line
                return job_id
        return None

    def remove(self, job_id: int) -> bool:
        """Whether it was waiting."""
        for client, line in self._lines.items():
            if job_id in line:
                line.remove(job_id)
                if not line:
                    del self._lines[client]
                return True
        return False

    def __iter__(self) -> Iterator[int]:
        """All of them in the order of their turns, should no other come."""
        lines = [list(line) for line in self._lines.values()]
        for turn in range(max(map(len, lines), default=0)):
            yield from (line[turn] for line in lines if turn < len(line))
