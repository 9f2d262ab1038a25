"""``urvc generate speech`` and ``urvc speech``: text in any voice, and who can read it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.cli import options, speech_mockingbird
from ultimate_rvc.cli.console import show_json, show_line, show_optimization, show_table
from ultimate_rvc.cli.doing import do
from ultimate_rvc.errors import SettingError, SpeechError
from ultimate_rvc.work.requests import SpeechRequest

STANDARD_INPUT = "-"
TEXT_SUFFIXES = (".txt", ".md")
MOST_BYTES = 10_000_000

app = typer.Typer(no_args_is_help=True, help="Engines that read text aloud, and their speakers.")
speech_mockingbird.register(app)


@options.takes(SpeechRequest)
@options.takes_optimization
def speech(
    asked: dict[str, Any],
    switches: Mapping[str, Any],
    text: Annotated[
        str,
        typer.Argument(
            help="What to read aloud, a .txt or .md file, or - for standard input.", show_default=False
        ),
    ],
    model: options.Model = None,
    as_json: options.AsJson = False,
) -> None:
    """Read a text aloud in a voice; without --model as the engine's own speaker.

    Example: urvc generate speech "Good morning!" --model starter --output morning.mp3
    """
    from ultimate_rvc.work.settings_parts import conversion_for

    conversion = asked.get("conversion", {})
    given = {
        **asked,
        "text": _text_of(text),
        "voice": model,
        "conversion": conversion_for(model, conversion) if model is not None else conversion,
        "optimization": switches,
    }
    result = do("speech", given)
    if as_json:
        show_json({"path": result.files[0].path, **result.facts, "device": result.device})
        return
    seconds = sum(step.seconds for step in result.steps)
    show_table(["step", "took"], [[step.name, f"{step.seconds:.1f} s"] for step in result.steps])
    length = result.facts["duration_seconds"]
    show_line(f"{length:.1f} s of speech in {seconds:.1f} s on {result.device} (RTF {seconds / length:.2f})")
    show_line(f"speech: {result.files[0].path}")
    show_optimization(result.facts["optimization"])


def _text_of(given: str) -> str:
    """The text itself, or what is in the file or comes from standard input."""
    if given == STANDARD_INPUT:
        return sys.stdin.read(MOST_BYTES)
    path = Path(given)
    if not given.lower().endswith(TEXT_SUFFIXES):
        return given
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SettingError(f"{path} is larger than {MOST_BYTES // 1_000_000} MB: cut it into parts.")
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpeechError(f"{path} is not text in UTF-8: save it as that.") from error
    except OSError as error:
        raise SpeechError(f"{path} cannot be read: {error.strerror}.") from error


@app.command()
def engines(as_json: options.AsJson = False) -> None:
    """List the engines, and whether each is here."""
    from ultimate_rvc.speech.engines import ENGINES

    rows: list[dict[str, Any]] = [
        {"name": info.name, "is_here": info.is_here(), "description": info.description, "licence": info.licence,
         "way_out": info.way_out}
        for info in ENGINES.values()
    ]  # fmt: skip
    if as_json:
        show_json(rows)
        return
    show_table(
        ["engine", "here", "what it is", "licence"],
        [
            [row["name"], "yes" if row["is_here"] else row["way_out"], row["description"], row["licence"]]
            for row in rows
        ],
    )


@app.command()
def speakers(
    engine: Annotated[SpeechEngineName, typer.Option(help="Of which engine.")] = SpeechEngineName.AUTO,
    as_json: options.AsJson = False,
) -> None:
    """List who can read: the names for --speaker."""
    from ultimate_rvc.speech.engines import open_engine

    found = open_engine(engine).speakers()
    if as_json:
        show_json([asdict(speaker) for speaker in found])
        return
    show_table(["speaker", "language", ""], [[each.name, each.language, each.description] for each in found])
