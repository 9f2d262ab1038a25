"""What can go wrong with jobs themselves; what goes wrong inside one is kept with it."""

from __future__ import annotations

from ultimate_rvc.errors import UltimateRVCError


class JobError(UltimateRVCError):
    """A job that is not there or cannot be changed, or a list of jobs that cannot be read or written."""
