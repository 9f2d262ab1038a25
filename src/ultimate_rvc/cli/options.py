"""Options that several commands share, each with the words, range and default users know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultimate_rvc.choices import AudioFormat, EmbedderModel, F0Method

CONVERSION = "Conversion"
OUTPUT = "Output"
RUN = "Run"

Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Voice: a name in the library, or a .pth or .safetensors file."),
]
Index = Annotated[
    Path | None,
    typer.Option(help="Index file to use instead of the voice's own.", rich_help_panel=CONVERSION),
]
NOctaves = Annotated[
    int,
    typer.Option(
        help="Octaves to shift the voice by, -4 to 4 (+1: low voice to high).", rich_help_panel=CONVERSION
    ),
]
NSemitones = Annotated[
    int, typer.Option(help="Semitones to shift the voice by, -48 to 48.", rich_help_panel=CONVERSION)
]
F0Methods = Annotated[
    list[F0Method],
    typer.Option(
        "--f0-method",
        help="How pitch is found; give it several times for the median of several. "
        "auto: rmvpe when its file is here, else fcpe.",
        rich_help_panel=CONVERSION,
    ),
]
IndexRate = Annotated[
    float, typer.Option(help="How much of the voice's index to use, 0 to 1.", rich_help_panel=CONVERSION)
]
RmsMixRate = Annotated[
    float,
    typer.Option(
        help="1 keeps the loudness curve of the new voice, 0 copies the source's.", rich_help_panel=CONVERSION
    ),
]
ProtectRate = Annotated[
    float,
    typer.Option(
        help="Protects consonants and breath from the index, 0 to 0.5 (0.5: off).", rich_help_panel=CONVERSION
    ),
]
AutotuneStrength = Annotated[
    float, typer.Option(help="How far autotune pulls to the note, 0 to 1.", rich_help_panel=CONVERSION)
]
ProposedPitch = Annotated[
    bool,
    typer.Option(
        "--proposed-pitch/--no-proposed-pitch",
        help="Also shift so that the median pitch meets the threshold.",
        rich_help_panel=CONVERSION,
    ),
]
ProposedPitchThreshold = Annotated[
    float,
    typer.Option(
        help="Median pitch to aim at, 50 to 1200 Hz (male about 155, female 255).", rich_help_panel=CONVERSION
    ),
]
CleanStrength = Annotated[
    float, typer.Option(help="Share of steady noise to remove, 0 to 1.", rich_help_panel=CONVERSION)
]
Embedder = Annotated[
    EmbedderModel | None,
    typer.Option(
        "--embedder-model",
        help="Content encoder; left out: the one the voice records.",
        rich_help_panel=CONVERSION,
    ),
]
CustomEmbedder = Annotated[
    str | None,
    typer.Option(
        "--custom-embedder-model",
        help="Folder of the encoder for --embedder-model custom.",
        rich_help_panel=CONVERSION,
    ),
]
SpeakerId = Annotated[int, typer.Option(help="Speaker inside the voice.", rich_help_panel=CONVERSION)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same bytes.", rich_help_panel=RUN)]
DeviceName = Annotated[
    str, typer.Option("--device", help="auto, mps, cuda, cuda:N or cpu.", rich_help_panel=RUN)
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object on standard output, nothing else.", rich_help_panel=RUN
    ),
]
OutputFormat = Annotated[AudioFormat | None, typer.Option(help="Audio format.", rich_help_panel=OUTPUT)]
Bitrate = Annotated[
    int | None, typer.Option(help="Bitrate in kbit/s for mp3, ogg, m4a and aac.", rich_help_panel=OUTPUT)
]


def switch(name: str, text: str) -> object:
    """A yes/no conversion option; its name differs by command (``--split-voice``, ``--split-vocals``)."""
    return typer.Option(f"--{name}/--no-{name}", help=text, rich_help_panel=CONVERSION)


SPLIT_HELP = "Convert only the sounding parts and leave the pauses silent."
AUTOTUNE_HELP = "Move every voiced frame to the nearest semitone."
CLEAN_HELP = "Reduce steady noise in the result."
