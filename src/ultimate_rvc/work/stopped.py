"""Work that was cancelled and has something to show all the same."""

from __future__ import annotations

from ultimate_rvc.errors import CancelledError
from ultimate_rvc.work.result import WorkResult


class StoppedError(CancelledError):
    """Raised by the work of a job that ended early on demand; ``result`` is what it made until then."""

    def __init__(self, result: WorkResult) -> None:
        super().__init__("The job was stopped.")
        self.result = result
