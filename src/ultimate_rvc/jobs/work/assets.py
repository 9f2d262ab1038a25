"""The job ``download``."""

from __future__ import annotations

from ultimate_rvc.assets.registry import require
from ultimate_rvc.jobs.kinds import DownloadJob
from ultimate_rvc.jobs.model import JobResult, ResultFile
from ultimate_rvc.jobs.workbench import Workbench


def download(job: DownloadJob, bench: Workbench) -> JobResult:
    files = []
    for number, name in enumerate(job.names):
        step, share = f"download {name}", 1 / len(job.names)
        progress = bench.progress.part(step, number * share, (number + 1) * share)
        with bench.step(step):
            files.append(ResultFile(name, require(name, progress)))
    return JobResult(tuple(files), tuple(bench.steps))
