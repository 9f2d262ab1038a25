"""A job before it is kept: its settings read and checked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.plain import merged
from ultimate_rvc.work.kinds import Kind, find_kind


def new_job(
    kinds: Mapping[str, Kind],
    name: str,
    given: object,
    *,
    client: str = "",
    group: str | None = None,
    rerun_of: int | None = None,
) -> Job:
    """A job to be kept, with all its settings, once everything that can be found out before is right.

    Raises
    ------
    UltimateRVCError
        The kind or a setting is none, a value is out of range, a file or voice is not there.
    """
    kind = find_kind(kinds, name)
    settings = kind.read(given)
    kind.check(settings)
    return Job(
        id=0,  # given by the store
        kind=name,
        title=kind.title(settings),
        settings=kind.plain(settings),
        client=client,
        group=group,
        rerun_of=rerun_of,
        created=time.time(),
    )


def repeated_job(
    kinds: Mapping[str, Kind], earlier: Job, changes: Mapping[str, Any], *, client: str | None = None
) -> Job:
    """A job with the settings of an earlier one; ``optimization`` is replaced by changes, the rest merged.

    Raises
    ------
    UltimateRVCError
        As :func:`new_job`.
    """
    settings = merged(earlier.settings, changes)
    if "optimization" in changes:
        settings["optimization"] = changes["optimization"]
    client = earlier.client if client is None else client
    return new_job(kinds, earlier.kind, settings, client=client, rerun_of=earlier.id)
