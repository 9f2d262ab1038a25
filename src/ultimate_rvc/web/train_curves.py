"""Curves and samples of a training, read from what it writes while it runs."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from ultimate_rvc.jobs.model import Job
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.logs import LINES_FILE, TENSORBOARD_FOLDER
from ultimate_rvc.web.desk import Desk

MOST_POINTS = 2000
_EPOCH = re.compile(r"^epoch (\d+) step (\d+) \| (.*?) \|")
_LOSS = re.compile(r"([\w/ -]+?) (-?\d+(?:\.\d+)?(?:e-?\d+)?|nan|inf)(?:, |$)")


def read_losses(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Each loss of ``train.log`` as (epoch, value), the latest points."""
    curves: dict[str, list[tuple[int, float]]] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    for line in text.splitlines():
        if found := _EPOCH.match(line):
            for name, value in _LOSS.findall(found[3]):
                curves.setdefault(name.strip(), []).append((int(found[1]), float(value)))
    return {name: points[-MOST_POINTS:] for name, points in curves.items()}


def drawn(desk: Desk, job: Job | None) -> list[Any]:
    """Curves and list of samples for the panel's job."""
    if job is None:
        return [gr.Plot(visible=False), gr.Dropdown([], value=None)]
    folder = _folder(job)
    figure = _figure(desk, folder)
    tags = _sample_steps(folder)
    choices = [(desk.texts("train.sample.step", step=step), step) for step in tags]
    return [gr.Plot(value=figure, visible=figure is not None), gr.Dropdown(choices, value=None)]


def redrawn(desk: Desk, job_id: int | None) -> list[Any]:
    """As :func:`drawn`, as long as the job runs and has something new to show."""
    job = _job(desk, job_id)
    if job is None or job.state.is_finished:
        return [gr.skip(), gr.skip()]
    return drawn(desk, job)


def heard(desk: Desk, step: int | None, job_id: int | None) -> Any:
    """The sample of one saved step, as a file that the page may serve."""
    job = _job(desk, job_id)
    if job is None or step is None:
        return None
    return _sample(_folder(job), int(step))


def _job(desk: Desk, job_id: int | None) -> Job | None:
    return next((job for job in desk.queue.list() if job.id == job_id), None) if job_id is not None else None


def _folder(job: Job) -> TrainingFolder:
    return TrainingFolder.named(str(job.settings["name"]))


def _figure(desk: Desk, folder: TrainingFolder) -> Any:
    path = folder.logs / LINES_FILE
    if not path.is_file():
        return None
    return _draw(path, path.stat().st_mtime_ns, desk.texts("train.curves.epoch"))


@lru_cache(maxsize=8)
def _draw(path: Path, changed: int, epoch: str) -> Any:
    """The picture; ``changed`` is part of the key, so that it is drawn once for each new line."""
    from matplotlib.figure import Figure

    curves = read_losses(path)
    if not curves:
        return None
    columns = 2
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(8, 2.2 * rows), layout="constrained")
    for number, (name, points) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        axes.plot([epoch for epoch, _ in points], [value for _, value in points], color="#0f766e")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(epoch, fontsize=9)
        axes.grid(alpha=0.3)
    return figure


def _events(folder: TrainingFolder) -> Any:
    from tensorboard.backend.event_processing import event_accumulator  # type: ignore[import-untyped]

    events = event_accumulator.EventAccumulator(
        str(folder.logs / TENSORBOARD_FOLDER), size_guidance={"audio": 0, "images": 1}
    )
    events.Reload()
    return events


CONVERSION_TAG = "held-out/conversion"


def _sample_steps(folder: TrainingFolder) -> list[int]:
    tensorboard = folder.logs / TENSORBOARD_FOLDER
    if not tensorboard.is_dir():
        return []
    events = _events(folder)
    if CONVERSION_TAG not in events.Tags()["audio"]:
        return []
    return [event.step for event in events.Audio(CONVERSION_TAG)][::-1]


def _sample(folder: TrainingFolder, step: int) -> str | None:
    """Written below the output folder's ``samples``: the log itself is not served."""
    from ultimate_rvc.files import atomic_path
    from ultimate_rvc.paths import output_dir

    for event in _events(folder).Audio(CONVERSION_TAG):
        if event.step == step:
            path = output_dir() / "samples" / folder.name / f"step {step}.wav"
            with atomic_path(path) as unfinished:
                unfinished.write_bytes(event.encoded_audio_string)
            return str(path)
    return None
