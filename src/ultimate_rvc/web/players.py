"""Players for the files of a finished cover: what is in each, said by the step that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.web.texts import Texts
from ultimate_rvc.work.result import ResultFile

MOST_STEMS = 10
# What a listener wants to compare; the others are the same sound at another stage of the mix.
STEPS_WITH_STEMS = (
    "separate",
    "split backing",
    "remove reverb",
    "convert",
    "convert backing",
    "effects",
    "transpose instruments",
)


def player(label: str | None = None, **look: Any) -> gr.Audio:
    """A player for a file that a job made; hidden until there is one."""
    return gr.Audio(
        label=label, type="filepath", interactive=False, visible=False, editable=False, buttons=["download"],
        **look,
    )  # fmt: skip


def files_there(job: Job | None) -> list[ResultFile]:
    """What a job made, as far as it is still there."""
    files = job.result.files if job is not None and job.result is not None else ()
    return [file for file in files if file.path.is_file()]


def cover_file(job: Job | None) -> Path | None:
    """The cover, if the job made one that is still there."""
    return next((file.path for file in files_there(job) if file.role == "cover"), None)


def stems(job: Job | None, texts: Texts) -> list[tuple[str, Path]]:
    """Label and file of each stem that is still in the cache, in the order of the recipe."""
    if job is None or job.result is None:
        return []
    found = [
        (f"{texts.named('step', step.name)}: {texts.named('stem', path.stem)}", path)
        for step in job.result.steps
        if step.name in STEPS_WITH_STEMS
        for path in step.files
        if path.is_file()
    ]
    return found[:MOST_STEMS]
