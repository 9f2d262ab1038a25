"""``urvc generate speech`` and ``urvc speech``: text in any voice, and who can read it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ultimate_rvc.choices import SpeechEngineName
from ultimate_rvc.cli import options, speech_llasa, speech_mockingbird
from ultimate_rvc.cli.consent import with_consent
from ultimate_rvc.cli.console import show_json, show_line, show_optimization, show_table
from ultimate_rvc.cli.doing import do
from ultimate_rvc.errors import SettingError
from ultimate_rvc.work.requests import SpeechRequest
from ultimate_rvc.work.result import WorkResult

STANDARD_INPUT = "-"
MOST_CHARACTERS = 10_000_000  # of standard input

SpokenIn = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        "--voice",
        help="Voice: a name in the library, or a .pth, .safetensors or .onnx file.",
    ),
]
NOT_OF_A_SAMPLE = (
    *("document", "text_format", "speaker", "language", "lexicon"),
    *("subtitles", "split_chapters"),
)

app = typer.Typer(no_args_is_help=True, help="Engines that read text aloud, and their speakers.")
speech_llasa.register(app)
speech_mockingbird.register(app)


@options.takes(SpeechRequest, own_flags={"text": "TEXT"})
@options.takes_optimization
def speech(
    asked: dict[str, Any],
    switches: Mapping[str, Any],
    text: Annotated[
        str | None,
        typer.Argument(
            help="What to read aloud; a .txt, .md, .srt, .vtt, .ssml or .epub file; or - for standard input, "
            "which is also read when something is piped in.",
            show_default=False,
        ),
    ] = None,
    model: SpokenIn = None,
    as_json: options.AsJson = False,
) -> None:
    """Read a text or document aloud in a voice; without --model as the engine's own speaker.

    Example: urvc generate speech "Good morning!" --model starter --output morning.mp3
    """
    _speak({**asked, **_text_or_document(text, "document" in asked)}, model, switches, as_json)


def _speak(given: Mapping[str, Any], model: str | None, switches: Mapping[str, Any], as_json: bool) -> None:
    """Do it and show what came of it."""
    from ultimate_rvc.work.settings_parts import conversion_for

    conversion = given.get("conversion", {})
    conversion = conversion_for(model, conversion) if model is not None else conversion
    given = {**given, "voice": model, "conversion": conversion, "optimization": switches}
    result = with_consent(
        lambda consent: do("speech", {**given, "consent": consent}), is_given=given.get("consent", False)
    )
    if not as_json:
        _show(result)
        return
    files = [{"role": file.role, "path": file.path} for file in result.files]
    show_json({"path": result.files[0].path, "files": files, **result.facts, "device": result.device})


def _show(result: WorkResult) -> None:
    """Times, files and the real-time factor."""
    seconds: dict[str, float] = {}
    for step in result.steps:  # of a book once a chapter
        seconds[step.name] = seconds.get(step.name, 0.0) + step.seconds
    show_table(["step", "took"], [[name, f"{took:.1f} s"] for name, took in seconds.items()])
    length, took = result.facts["duration_seconds"], result.facts["elapsed_seconds"]
    show_line(f"{length:.1f} s of speech in {took:.1f} s on {result.device} (RTF {took / length:.2f})")
    for file in result.files:
        show_line(f"{file.role}: {file.path}")
    show_optimization(result.facts["optimization"])


def _text_or_document(given: str | None, has_document: bool) -> dict[str, Any]:
    """The fields ``text`` and ``document`` from the argument, or from what is piped in."""
    if given is None and has_document:
        return {"text": None}
    if given == STANDARD_INPUT or (given is None and not sys.stdin.isatty()):
        text = sys.stdin.read(MOST_CHARACTERS + 1)
        if len(text) > MOST_CHARACTERS:
            raise SettingError(f"Standard input has over {MOST_CHARACTERS:,} characters: cut it into parts.")
        return {"text": text}
    if given is None:
        raise SettingError("TEXT is missing: say what is to be read aloud, or name a file.")
    return {"text": None, "document": given} if _is_document(given) else {"text": given}


def _is_document(given: str) -> bool:
    """Whether the argument names a file: by its suffix, or because there is one of that name."""
    from ultimate_rvc.speech.documents import SUFFIXES

    if "\n" in given:
        return False
    try:
        return given.lower().endswith(tuple(SUFFIXES)) or Path(given).is_file()
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        return False


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
def voices(
    engine: Annotated[SpeechEngineName, typer.Option(help="Of which engine.")] = SpeechEngineName.AUTO,
    language: Annotated[
        str | None, typer.Option(help="Of this language only, such as en-GB or zh.", show_default=False)
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List who can read: the names for --speaker."""
    from ultimate_rvc.speech.choosing import speaks
    from ultimate_rvc.speech.engines import open_engine

    known = open_engine(engine).speakers()
    found = [each for each in known if language is None or speaks(each, language)]
    if as_json:
        show_json([asdict(speaker) for speaker in found])
        return
    show_table(["speaker", "language", ""], [[each.name, each.language, each.description] for each in found])


@app.command()
@options.takes(SpeechRequest, leave_out=NOT_OF_A_SAMPLE, own_flags={"speaker": "SPEAKER"})
@options.takes_optimization
def sample(
    asked: dict[str, Any],
    switches: Mapping[str, Any],
    speaker: Annotated[str, typer.Argument(help="Who reads: a name of urvc speech voices.")],
    model: SpokenIn = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a sentence as a speaker says it, in the speaker's language.

    Example: urvc speech sample heart --output heart.wav
    """
    from ultimate_rvc.speech.choosing import choose
    from ultimate_rvc.speech.samples import sample_text

    chosen = choose(SpeechEngineName(asked.get("engine", SpeechEngineName.AUTO)), speaker, None).speaker
    given = {
        "output_name": f"sample of {chosen.name.replace(':', ' ')}",
        **asked,
        "text": sample_text(chosen.language),
        "speaker": chosen.name,
    }
    _speak(given, model, switches, as_json)
