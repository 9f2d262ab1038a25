"""``urvc generate convert-voice``: files and folders through one voice, loaded once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.console import show_json, show_optimization, show_table
from ultimate_rvc.cli.doing import do
from ultimate_rvc.errors import UltimateRVCError
from ultimate_rvc.work.requests import ConvertRequest


@options.takes(ConvertRequest)
@options.takes_optimization
def convert_voice(
    asked: Mapping[str, Any],
    switches: Mapping[str, Any],
    voice_tracks: Annotated[list[Path], typer.Argument(help="Files to convert; folders are searched.")],
    model: options.Model = None,
    as_json: options.AsJson = False,
) -> None:
    """Convert speech or singing without accompaniment to a voice.

    Example: urvc generate convert-voice take1.wav take2.wav --model "my voice" --output converted
    """
    from ultimate_rvc.work.settings_parts import conversion_for

    voice = options.one_of("--model", model, None, "a voice's name, or a .pth, .safetensors or .onnx file")
    result = do(
        "convert",
        {
            **asked,
            "sources": voice_tracks,
            "voice": voice,
            "conversion": conversion_for(voice, asked.get("conversion", {})),
            "optimization": switches,
        },
    )
    facts = result.facts
    if as_json:
        show_json({name: facts[name] for name in ("voice", "converted", "failed", "optimization")})
    else:
        show_table(
            ["source", "converted", "audio", "took"],
            [
                [
                    each["source"],
                    each["output"],
                    f"{each['audio_seconds']:.1f} s",
                    f"{each['elapsed_seconds']:.1f} s",
                ]
                for each in facts["converted"]
            ],
        )
        show_optimization(facts["optimization"])
    if failed := len(facts["failed"]):
        raise UltimateRVCError(
            f"{failed} of {failed + len(facts['converted'])} files could not be converted."
        )
