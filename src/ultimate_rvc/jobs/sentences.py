"""Whatever went wrong in a job, in one sentence."""

from __future__ import annotations

import errno

from ultimate_rvc.errors import UltimateRVCError

# The machine's own limits, which no code can help: they are told like a user's errors, not like bugs.
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


def sentence_of(error: BaseException) -> str:
    """What to tell the user; the traceback is kept apart."""
    if isinstance(error, UltimateRVCError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f"{error.strerror}: {error.filename or 'a file'}. Make room, or choose another folder."
    if isinstance(error, MemoryError):
        return "This machine has too little free memory for this job; close other programs."
    return f"This is a bug ({type(error).__name__}: {error}); please report it with the details."
