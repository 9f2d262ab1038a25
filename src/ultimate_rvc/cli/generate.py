"""``urvc generate``: covers, conversions, speech, and each step of a cover by itself."""

from __future__ import annotations

import typer

from ultimate_rvc.cli import steps
from ultimate_rvc.cli.convert_voice import convert_voice
from ultimate_rvc.cli.song_cover import song_cover
from ultimate_rvc.cli.speech import speech

app = typer.Typer(no_args_is_help=True, help="Make covers, convert voices, speak, or run one step.")
app.command("song-cover")(song_cover)
app.command("convert-voice")(convert_voice)
app.command("speech")(speech)
app.command("separate")(steps.separate)
app.command("split-backing")(steps.split_backing)
app.command("dereverb")(steps.dereverb)
app.command("effects")(steps.effects)
app.command("transpose")(steps.transpose)
app.command("mix")(steps.mix)
app.command("wavify")(steps.wavify)
