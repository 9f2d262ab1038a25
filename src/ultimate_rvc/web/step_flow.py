"""Which step of a cover takes what another made.

Nothing is kept beside the list of jobs: what a step is given follows from the browser's latest finished ones,
so that a reload finds everything in its place.
"""

from __future__ import annotations

from ultimate_rvc.jobs.model import Job, JobState
from ultimate_rvc.jobs.outside import files_there
from ultimate_rvc.jobs.queue import JobQueue

# Inputs by step and name, each with the steps and roles that it can come from: the latest made is taken.
PROVIDERS: dict[str, tuple[tuple[str, str], ...]] = {
    "lead.input": (("vocals", "vocals"),),
    "reverb.input": (("vocals", "vocals"), ("lead", "lead")),
    "convert.input": (("vocals", "vocals"), ("lead", "lead"), ("reverb", "dry")),
    "effects.input": (("convert", "converted"),),
    "mix.lead": (("convert", "converted"), ("effects", "effects")),
    "mix.instrumental": (("vocals", "instrumental"),),
    "mix.backing": (("lead", "backing"),),
}


def step_of(job: Job) -> str | None:
    """The step that a job is; None if it is something else, such as a conversion of its own tab."""
    if job.kind == "separate":
        return str(job.settings["task"])
    if job.kind in ("effects", "mix"):
        return job.kind
    return "convert" if job.kind == "convert" and job.group is not None else None


def targets(step: str) -> list[str]:
    """Inputs that take something of this step."""
    return [name for name, providers in PROVIDERS.items() if step in dict(providers)]


def made(job: Job) -> dict[str, str]:
    """Files of a finished step by role, as far as they are still there."""
    return {file.role: str(file.path) for file in files_there(job)}


def newest(queue: JobQueue, client: str, name: str) -> str | None:
    """The file for an input: of those that it can come from, what was finished last."""
    for job in sorted(
        queue.list(client=client, states=[JobState.DONE]), key=lambda job: job.finished or 0.0, reverse=True
    ):
        for step, role in PROVIDERS[name]:
            if step_of(job) == step and role in (files := made(job)):
                return files[role]
    return None
