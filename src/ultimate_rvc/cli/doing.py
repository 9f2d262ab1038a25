"""How a command does its work: read the request, do it here, show what to warn of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultimate_rvc.cli.console import progress_bar, show_warning
from ultimate_rvc.cli.options import SWITCH_FLAGS
from ultimate_rvc.cli.profiling import profile_shown
from ultimate_rvc.progress import Progress
from ultimate_rvc.work.kinds import KINDS
from ultimate_rvc.work.result import WorkResult


def do(kind_name: str, given: Mapping[str, Any]) -> WorkResult:
    """Do work of a kind in this process, with a bar on standard error.

    Raises
    ------
    UltimateRVCError
        A setting is wrong, or the work cannot be done.
    """
    from ultimate_rvc.work.workbench import own_workbench

    kind = KINDS[kind_name]
    request = kind.read(given)
    kind.check(request)
    with profile_shown(), own_workbench(Progress(), SWITCH_FLAGS) as bench:
        try:
            with progress_bar() as bench.progress:
                result: WorkResult = kind.load_work()(request, bench)
        finally:
            for warning in bench.warnings:
                show_warning(warning)
    return result
