"""``urvc train``: from recordings to a voice, in one command or step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ultimate_rvc.choices import EmbedderModel
from ultimate_rvc.cli.console import progress_bar, show_json, show_line, show_table, show_warning
from ultimate_rvc.cli.train_options import AsJson, AudioFiles, ModelName, takes_settings
from ultimate_rvc.errors import DatasetError
from ultimate_rvc.rvc.train.data_settings import ExtractSettings, PreprocessSettings
from ultimate_rvc.rvc.train.settings import TrainingSettings

if TYPE_CHECKING:
    from ultimate_rvc.rvc.train.folders import TrainingFolder
    from ultimate_rvc.work.result import WorkResult
    from ultimate_rvc.work.train import TrainingPlan

app = typer.Typer(no_args_is_help=True, help="Train voices from recordings.")

Dataset = Annotated[Path, typer.Argument(help="Name of a dataset, or a folder of recordings.")]
EmbedderChoice = Annotated[
    EmbedderModel | None,
    typer.Option(help="Content encoder; left out: contentvec when its files are here, else starter."),
]
SampleRateChoice = Annotated[
    int | None,
    typer.Option(
        help="Sample rate of the voice in Hz; left out: 32000 with the starter encoder, else 40000."
    ),
]


@app.command("voice")
@takes_settings(PreprocessSettings, ExtractSettings, TrainingSettings)
def train_voice(
    preprocessing: PreprocessSettings,
    extraction: ExtractSettings,
    training: TrainingSettings,
    name: ModelName,
    audio_files: AudioFiles,
    embedder_model: EmbedderChoice = None,
    sample_rate: SampleRateChoice = None,
    as_json: AsJson = False,
) -> None:
    """Do everything: copy the recordings, prepare them, train, and put the voice in the library.

    A run that was interrupted continues where it was.

    Example: urvc train voice "my voice" recordings/ --num-epochs 200
    """
    from ultimate_rvc.rvc.train.defaults import embedder_at_hand, sample_rate_for
    from ultimate_rvc.work.requests import TrainRequest
    from ultimate_rvc.work.stopped import StoppedError
    from ultimate_rvc.work.train import train
    from ultimate_rvc.work.workbench import own_workbench

    embedder = embedder_model or embedder_at_hand()
    rate = sample_rate_for(embedder) if sample_rate is None else sample_rate
    job = TrainRequest(
        name=name,
        recordings=tuple(audio_files),
        preprocessing=replace(preprocessing, sample_rate=rate),
        extraction=replace(extraction, embedder_model=embedder),
        training=training,
        device=training.device,
    )

    def show_plan(plan: TrainingPlan) -> None:
        _warn(plan.pieces.warnings)
        for line in _plan_lines(plan):
            show_warning(line) if as_json else show_line(line)

    with progress_bar() as progress, own_workbench(progress) as bench:
        try:
            result = train(job, bench, show_plan)
        except StoppedError as stopped:  # by Ctrl-C, which is a way to end it
            result = stopped.result
    _show(result, as_json)


@app.command("populate-dataset")
def populate(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")], audio_files: AudioFiles
) -> None:
    """Copy recordings into a dataset; subfolders named 0, 1, 2 ... are speakers."""
    from ultimate_rvc.rvc.train.dataset import find_recordings, populate_dataset

    with progress_bar() as progress:
        folder = populate_dataset(name, audio_files, progress=progress)
    show_line(f"{len(find_recordings(folder))} recordings in {folder}")


@app.command("preprocess-dataset")
@takes_settings(PreprocessSettings)
def preprocess(preprocessing: PreprocessSettings, model_name: ModelName, dataset: Dataset) -> None:
    """Check recordings and cut them into pieces."""
    from ultimate_rvc.rvc.train.preprocess import preprocess_dataset

    folder = _training_folder(model_name)
    with progress_bar() as progress:
        pieces = preprocess_dataset(folder, _dataset_folder(dataset), preprocessing, progress=progress)
    _warn(pieces.warnings)
    show_line(f"{len(pieces.pieces)} pieces, {pieces.dataset_seconds:.0f} s, in {folder.data}")


@app.command("extract-features")
@takes_settings(ExtractSettings)
def extract(extraction: ExtractSettings, model_name: ModelName) -> None:
    """Compute content features, pitch and spectrograms of the pieces."""
    from ultimate_rvc.rvc.train.extract import extract_features

    folder = _training_folder(model_name)
    with progress_bar() as progress:
        examples = extract_features(folder, extraction, progress=progress)
    about = examples.description
    pitch = (
        ""
        if about.f0_percentiles_hz is None
        else ", pitch {:.0f} to {:.0f} to {:.0f} Hz".format(*about.f0_percentiles_hz)
    )
    show_line(f"features of {about.embedder} ({about.phone_dim} wide){pitch}, in {folder.data}")


@app.command("run-training")
@takes_settings(TrainingSettings)
def run_training(training: TrainingSettings, model_name: ModelName, as_json: AsJson = False) -> None:
    """Train on the prepared pieces, or continue a training; Ctrl-C saves and stops.

    On several GPUs or machines: accelerate launch -m ultimate_rvc.cli train run-training NAME
    """
    from ultimate_rvc.rvc.train import loop
    from ultimate_rvc.work.result import WorkResult
    from ultimate_rvc.work.train import training_facts, voice_files

    folder = _training_folder(model_name)
    with progress_bar() as progress:
        trained = loop.run_training(folder, training, progress)
    if trained.voice is not None:  # of several processes, only the first tells
        _show(WorkResult(files=voice_files(trained), facts=training_facts(folder, trained)), as_json)


@app.command("get-gpu-information")
def gpu_information(as_json: AsJson = False) -> None:
    """List the GPUs that can train."""
    from ultimate_rvc.rvc.train.gpus import list_gpus

    gpus = list_gpus()
    if as_json:
        show_json([asdict(gpu) for gpu in gpus])
    elif not gpus:
        show_line("There is no GPU that torch can use here: training runs on the processor.")
    else:
        show_table(["device", "name", "memory"], [[gpu.device, gpu.name, gpu.memory] for gpu in gpus])


def _training_folder(name: str) -> TrainingFolder:
    from ultimate_rvc.rvc.train.folders import TrainingFolder
    from ultimate_rvc.voices.names import checked_name

    return TrainingFolder.named(checked_name(name))


def _dataset_folder(dataset: Path) -> Path:
    """A folder as it is, or the dataset of that name."""
    from ultimate_rvc.rvc.train.folders import dataset_folder

    if dataset.is_dir():
        return dataset
    if dataset.name != str(dataset):
        raise DatasetError(f'There is no folder "{dataset}".')
    return dataset_folder(dataset.name)


def _plan_lines(plan: TrainingPlan) -> list[str]:
    """What will be done and how long it may take, a line each."""
    pieces, job, expected = plan.pieces, plan.job, plan.expected
    training = job.training
    return [
        f"recordings  {pieces.dataset_seconds / 60:.1f} minutes",
        f"prepare     {len(pieces.pieces)} pieces of {pieces.sample_rate} Hz, "
        f"encoder {job.extraction.embedder_model}, pitch by {job.extraction.f0_method}",
        f"train       {plan.network_size} network, {expected.steps} steps of {training.batch_size} "
        f"pieces on {expected.device}, {training.precision}",
        f"time        about {_duration(expected.seconds)} ({expected.seconds_per_step:.2f} s a step, as two "
        "took now); Ctrl-C saves, and the same command continues",
        f"voice       {job.name}, in the library when done",
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _show(result: WorkResult, as_json: bool) -> None:
    if as_json:
        plain = result.as_dict()
        show_json({**result.facts, **{name: plain[name] for name in ("files", "steps", "warnings")}})
        return
    facts, best = result.facts, result.facts["best"]
    show_line(f"{facts['reason']}: epoch {facts['epoch']}, step {facts['step']}")
    speed, waited = facts["steps_per_second"], facts["waited_share"]
    show_line(f"speed       {speed:.2f} steps/s, {waited:.1%} waiting for data")
    if best is not None:
        alike = "" if best["similarity"] is None else f", similarity {best['similarity']:.2f}"
        distance = f"mel distance {best['mel_distance']:.3f}{alike}"
        show_line(f"best        epoch {best['epoch']}, step {best['step']}: {distance}")
    if result.steps:
        times = ", ".join(f"{step.name} {_duration(step.seconds)}" for step in result.steps)
        show_line(f"times       {times}")
    show_line(f"logs        {facts['logs']} (tensorboard --logdir)")
    for file in result.files:
        show_line(f"{file.role:<12}{file.path}")


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        show_warning(warning)
