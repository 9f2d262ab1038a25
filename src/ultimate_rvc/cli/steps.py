"""The steps of a cover as commands of their own: audio file in, audio file out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import show_json, show_line, show_table
from ultimate_rvc.cli.doing import do
from ultimate_rvc.errors import SettingError
from ultimate_rvc.separation import SEPARATION_MODELS, SeparationTask
from ultimate_rvc.work.requests import (
    EffectsRequest,
    MixRequest,
    SeparateRequest,
    TransposeRequest,
    WavifyRequest,
)

ListModels = Annotated[bool, typer.Option("--list", help="List the models and end.")]
Asked = Mapping[str, Any]


def _parting_command(task: SeparationTask, summary: str) -> Callable[..., None]:
    """The command of one task; all of them have the same options."""

    @options.takes(SeparateRequest, leave_out=("task",))
    @options.takes_optimization
    def part(
        asked: Asked,
        switches: Asked,
        track: Annotated[Path | None, typer.Argument(help="Audio file.", show_default=False)] = None,
        list_models: ListModels = False,
        as_json: options.AsJson = False,
    ) -> None:
        if list_models:
            _list_models(task, as_json)
            return
        if track is None:
            raise SettingError("The file to take apart is missing; --list shows the models.")
        given = {
            "output": track.parent,
            **asked,
            "source": track,
            "task": task.value,
            "optimization": switches,
        }
        result = do("separate", given)
        if as_json:
            files = {file.role: file.path for file in result.files}
            model = result.facts["separation_model"]
            show_json({"model": model, "files": files, "warnings": list(result.warnings)})
            return
        for file in result.files:
            show_line(str(file.path))

    part.__doc__ = summary
    return part


separate = _parting_command(SeparationTask.VOCALS, "Part a song into vocals and instruments.")
split_backing = _parting_command(SeparationTask.LEAD, "Part vocals into the lead and the backing voices.")
dereverb = _parting_command(SeparationTask.REVERB, "Part vocals into the dry voice and its reverb.")


def _list_models(task: SeparationTask, as_json: bool) -> None:
    models = [model for model in SEPARATION_MODELS.values() if task in model.tasks]
    if as_json:
        show_json([{"name": m.name, "description": m.description, "bytes": m.bytes} for m in models])
        return
    show_table(
        ["model", "download", "what it is"],
        [[m.name, f"{m.bytes / 1e6:.0f} MB" if m.needs_download else "-", m.description] for m in models],
    )


@options.takes(EffectsRequest)
def effects(asked: Asked, track: options.Track) -> None:
    """Add high-pass, compressor and reverb to vocals; the reverb's tail is kept."""
    _change("effects", {**asked, "source": track})


@options.takes(TransposeRequest)
def transpose(
    asked: Asked,
    track: options.Track,
    semitones: Annotated[float, typer.Argument(help="Semitones, -24 to 24.")],
) -> None:
    """Shift the pitch of music; its length stays."""
    _change("transpose", {**asked, "source": track, "semitones": semitones})


@options.takes(MixRequest)
def mix(asked: Asked, tracks: Annotated[list[Path], typer.Argument(help="Audio files.")]) -> None:
    """Mix files into one as long as the longest, with a true-peak-safe limiter instead of clipping."""
    _change("mix", {**asked, "sources": tracks})


@options.takes(WavifyRequest)
def wavify(asked: Asked, track: options.Track) -> None:
    """Turn any file with audio in it (video too) into a wav file."""
    _change("wavify", {"beside": True, **asked, "source": track})


def _change(kind: str, given: Asked) -> None:
    (file,) = do(kind, given).files
    show_line(str(file.path))
