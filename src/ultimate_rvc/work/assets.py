"""The job ``download``."""

from __future__ import annotations

from ultimate_rvc.assets.registry import require
from ultimate_rvc.work.requests import DownloadRequest
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.workbench import Workbench


def download(job: DownloadRequest, bench: Workbench) -> WorkResult:
    files = []
    for number, name in enumerate(job.names):
        step, share = f"download {name}", 1 / len(job.names)
        progress = bench.progress.part(step, number * share, (number + 1) * share)
        with bench.step(step):
            files.append(ResultFile(name, require(name, progress)))
    return WorkResult(tuple(files), tuple(bench.steps))
