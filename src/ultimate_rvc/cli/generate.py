"""``urvc generate``: covers, conversions, and each step of a cover by itself."""

from __future__ import annotations

import typer

from ultimate_rvc.cli import steps
from ultimate_rvc.cli.convert_voice import convert_voice
from ultimate_rvc.cli.song_cover import song_cover

app = typer.Typer(no_args_is_help=True, help="Make covers, convert voices, or run one step.")
app.command("song-cover")(song_cover)
app.command("convert-voice")(convert_voice)
for name, command in {
    "separate": steps.separate,
    "split-backing": steps.split_backing,
    "dereverb": steps.dereverb,
    "effects": steps.effects,
    "transpose": steps.transpose,
    "mix": steps.mix,
    "wavify": steps.wavify,
}.items():
    app.command(name)(command)
