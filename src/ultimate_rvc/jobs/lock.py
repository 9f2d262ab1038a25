"""One process works on a list of jobs at a time; others may read it and leave wishes."""

from __future__ import annotations

from pathlib import Path

import filelock

from ultimate_rvc.jobs.errors import JobError

LOCK_FILE = "server.lock"


class ServerLock:
    """Held by the process that does the jobs; the system frees it when that process ends, however."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = filelock.FileLock(folder / LOCK_FILE, thread_local=False)

    def try_acquire(self) -> bool:
        """Whether it is ours now.

        Raises
        ------
        JobError
            The folder cannot be written.
        """
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            return False
        except OSError as error:
            raise JobError(f"The folder of jobs {self._folder} cannot be used ({error.strerror}).") from error
        return True

    def acquire(self) -> None:
        """
        Raises
        ------
        JobError
            Another process holds it.
        """
        if not self.try_acquire():
            raise JobError(
                f"Another page or command works on the jobs in {self._folder} already; end it first, or "
                "choose another folder with URVC_AUDIO_DIR."
            )

    def release(self) -> None:
        self._lock.release()
