"""``urvc speech optimize`` and ``urvc speech store-speaker``: models and voices of the engine mockingbird."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultimate_rvc.cli import options
from ultimate_rvc.cli.consent import with_consent
from ultimate_rvc.cli.console import megabytes, progress_bar, show_json, show_line
from ultimate_rvc.speech.consent import WORDS
from ultimate_rvc.speech.mockingbird.optimization.settings import ModelOptimization, Precision, VocoderEngine

Model = Annotated[
    str, typer.Argument(help="A MockingBird model: the name of its folder.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``urvc speech``."""
    app.command()(optimize)
    app.command("store-speaker")(store_speaker)


def optimize(
    model: Model,
    name: Annotated[str, typer.Argument(help="Name of the optimized model.", show_default=False)],
    precision: Annotated[
        Precision, typer.Option(help="Numbers in which the synthesizer computes.")
    ] = Precision.FLOAT32,
    vocoder: Annotated[VocoderEngine, typer.Option(help="What runs the vocoder.")] = VocoderEngine.COMPILED,
    pruned_weights: Annotated[
        float, typer.Option(min=0, max=0.95, help="Share of the synthesizer's weights to set to zero.")
    ] = 0.0,
    pruned_channels: Annotated[
        float, typer.Option(min=0, max=0.95, help="Share of the vocoder's inner channels to leave out.")
    ] = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Make a smaller or faster copy of a MockingBird model; the original stays.

    Example: urvc speech optimize mandarin mandarin-fast --precision int8 --vocoder onnx
    """
    from ultimate_rvc.speech.mockingbird.folder import find_model, new_model_folder
    from ultimate_rvc.speech.mockingbird.optimization.making import optimize_model

    source, target = find_model(model), new_model_folder(name)
    optimization = ModelOptimization(precision, vocoder, pruned_weights, pruned_channels)
    with progress_bar() as progress:
        optimize_model(source, target, optimization, progress)
    size = sum(path.stat().st_size for path in target.iterdir() if path.is_file())
    if as_json:
        show_json({"path": str(target), "bytes": size, "optimization": optimization.to_dict()})
        return
    show_line(f"model {name}, {megabytes(size)}, in {target}")


def store_speaker(
    model: Model,
    name: Annotated[str, typer.Argument(help="Name of the new speaker.", show_default=False)],
    recording: Annotated[
        Path, typer.Argument(help="Recording of the voice, 5 to 15 s of speech.", show_default=False)
    ],
    consent: Annotated[bool, typer.Option("--consent", help=f"{WORDS} Asked for once.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Hear a recording once and keep who speaks in it as a speaker of a MockingBird model.

    Example: urvc speech store-speaker mandarin alice alice.wav
    """
    from ultimate_rvc.speech.mockingbird import embeddings
    from ultimate_rvc.speech.mockingbird.folder import find_model
    from ultimate_rvc.speech.mockingbird.loading import encoder_file

    folder = find_model(model)

    def store(has_consent: bool) -> Path:
        return embeddings.store_speaker(
            folder, name, recording, lambda: encoder_file(folder), has_consent=has_consent
        )

    with options.with_flags({"consent": "--consent"}):
        path = with_consent(store, is_given=consent)
    if as_json:
        show_json({"path": str(path), "speaker": f"{model}:{name}"})
        return
    show_line(f"speaker {model}:{name} (--engine mockingbird), in {path}")
