"""Jobs as programs elsewhere see them: files by name, to be fetched, and no paths of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.work.result import ResultFile

# Files of other kinds (voices, models) lie in folders that a server does not serve.
KINDS_WITH_FILES = frozenset(
    {"cover", "convert", "speech", "separate", "effects", "transpose", "wavify", "mix"}
)


def job_json(job: Job) -> dict[str, Any]:
    """A job as plain values.

    A dict with a ``path`` would make ``gradio_client`` fetch that file at once, whatever it is.
    """
    plain = job.as_dict()
    if result := plain["result"]:
        result["files"] = [
            {"role": file.role, "name": file.path.name, "source": file.source and Path(file.source).name}
            for file in (job.result.files if job.result is not None else ())
        ]
        for step in result["steps"]:
            step["files"] = [Path(file).name for file in step["files"]]
        for each in (*result["facts"].get("converted", ()), *result["facts"].get("failed", ())):
            each |= {name: Path(each[name]).name for name in ("source", "output") if name in each}
    return plain


def files_there(job: Job | None) -> list[ResultFile]:
    """What a job made, as far as it is still there."""
    files = job.result.files if job is not None and job.result is not None else ()
    return [file for file in files if file.path.is_file()]
