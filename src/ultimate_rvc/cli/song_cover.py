"""``urvc generate song-cover``: a song in, its cover out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import show_json, show_line, show_optimization, show_table
from ultimate_rvc.cli.doing import do
from ultimate_rvc.covers.settings import CoverSettings
from ultimate_rvc.errors import SettingError
from ultimate_rvc.work.result import WorkResult

BACKING_FLAGS = {"backing": "--convert-backing"}


def _same_as(option: str) -> Any:
    return typer.Argument(metavar=f"[{option.upper()}]", help=f"The same as --{option}.", show_default=False)


def _switch(name: str, sentence: str, panel: str) -> Any:
    return typer.Option(f"--{name}/--no-{name}", help=sentence, rich_help_panel=options.PANELS[panel])


@options.takes(CoverSettings, leave_out=("optimization",), subject="vocals", own_flags=BACKING_FLAGS)
@options.takes_optimization
def song_cover(
    asked: dict[str, Any],
    switches: Mapping[str, Any],
    source_argument: Annotated[str | None, _same_as("source")] = None,
    model_argument: Annotated[str | None, _same_as("model")] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Song: a file, a folder of stems, a link, or 'demo'.", show_default=False),
    ] = None,
    model: options.Model = None,
    convert_backing: Annotated[
        bool | None, _switch("convert-backing", "Convert backing vocals too.", "backing")
    ] = None,
    effects: Annotated[bool | None, _switch("effects", "Effects on the new lead.", "effects")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a cover: separate the song, convert its vocals to a voice, mix them back.

    Example: urvc generate song-cover --source song.mp3 --model "my voice" --n-octaves 1
    """
    song = options.one_of("--source", source, source_argument, "a file, a folder of stems, a link, or 'demo'")
    voice = options.one_of(
        "--model", model, model_argument, "a voice's name, or a .pth, .safetensors or .onnx file"
    )
    from ultimate_rvc.work.settings_parts import cover_for

    if "backing" in asked and not convert_backing:
        raise SettingError(
            "--backing-model, --backing-octaves and --backing-semitones need --convert-backing."
        )
    if convert_backing is not None:
        asked["backing"] = asked.get("backing", {}) if convert_backing else None
    if effects is not None:
        asked["effects"] = asked.get("effects", {}) if effects else None
    cover = cover_for(voice, asked)
    result = do("cover", {"source": song, "voice": voice, "cover": cover, "optimization": switches})
    if as_json:
        show_json({"path": result.files[0].path, **result.facts, **_plain(result)})
        return
    _show(result)


def _plain(result: WorkResult) -> dict[str, Any]:
    return {name: result.as_dict()[name] for name in ("steps", "warnings", "device")}


def _show(result: WorkResult) -> None:
    rows = [
        [step.name, "cached" if step.cached else f"{step.seconds:.1f} s", file]
        for step in result.steps
        for file in map(str, step.files)
    ]
    show_table(["step", "took", "file"], rows)
    facts = result.facts
    show_line(
        f"elapsed: {facts['elapsed_seconds']:.1f} s for {facts['duration_seconds']:.1f} s on {result.device}"
    )
    show_line(f"cover: {result.files[0].path}")
    show_optimization(facts["optimization"])
