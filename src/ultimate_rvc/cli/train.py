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
from ultimate_rvc.rvc.train.settings import NetworkChoice, TrainingSettings

if TYPE_CHECKING:
    from ultimate_rvc.progress import Progress
    from ultimate_rvc.rvc.train.folders import TrainingFolder
    from ultimate_rvc.rvc.train.loop import TrainingResult

app = typer.Typer(no_args_is_help=True, help="Train voices from recordings.")

Dataset = Annotated[Path, typer.Argument(help="Name of a dataset, or a folder of recordings.")]
EmbedderChoice = Annotated[
    EmbedderModel | None,
    typer.Option(help="Content encoder; left out: contentvec when its files are here, else starter."),
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
    as_json: AsJson = False,
) -> None:
    """Do everything: copy the recordings, prepare them, train, and put the voice in the library.

    A run that was interrupted goes on where it was.

    Example: urvc train voice "my voice" recordings/ --num-epochs 200
    """
    from ultimate_rvc.rvc.train.dataset import find_recordings, populate_dataset
    from ultimate_rvc.rvc.train.extract import extract_features
    from ultimate_rvc.rvc.train.preprocess import preprocess_dataset

    folder = _training_folder(name)
    extraction = replace(extraction, embedder_model=embedder_model or _embedder_at_hand())
    training = replace(training, network_size=_network_size(training))
    with progress_bar() as progress:
        dataset = populate_dataset(name, audio_files, progress=progress)
        seconds = sum(recording.seconds() for recording in find_recordings(dataset))
        for line in _plan(folder, dataset, seconds, preprocessing, extraction, training):
            show_warning(line) if as_json else show_line(line)
        pieces = preprocess_dataset(folder, dataset, preprocessing, progress=progress)
        _warn(pieces.warnings)
        extract_features(folder, extraction, progress=progress)
        _train(folder, training, progress, as_json)


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
    """Train on the prepared pieces, or go on with a training; Ctrl-C saves and stops.

    On several GPUs or machines: accelerate launch -m ultimate_rvc.cli train run-training NAME
    """
    with progress_bar() as progress:
        _train(_training_folder(model_name), training, progress, as_json)


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


def _embedder_at_hand() -> EmbedderModel:
    from ultimate_rvc.rvc.content import encoder_folder

    has_contentvec = encoder_folder(EmbedderModel.CONTENTVEC) is not None
    return EmbedderModel.CONTENTVEC if has_contentvec else EmbedderModel.STARTER


def _network_size(training: TrainingSettings) -> NetworkChoice:
    """A full network takes weeks on a processor, so there the small one is what ``auto`` means."""
    from ultimate_rvc.device import resolve_device

    is_open = training.network_size is NetworkChoice.AUTO and training.pretrained_generator is None
    if is_open and resolve_device(training.device).type == "cpu":
        return NetworkChoice.SMALL
    return training.network_size


def _plan(
    folder: TrainingFolder,
    dataset: Path,
    seconds: float,
    preprocessing: PreprocessSettings,
    extraction: ExtractSettings,
    training: TrainingSettings,
) -> list[str]:
    """What will be done and how long it may take, a line each."""
    from ultimate_rvc.rvc.train.estimate import estimate

    expected = estimate(seconds, preprocessing, extraction, training)
    return [
        f"recordings  {seconds / 60:.1f} minutes in {dataset}",
        f"prepare     {preprocessing.sample_rate} Hz, about {expected.pieces} pieces, "
        f"encoder {extraction.embedder_model}, pitch by {extraction.f0_method}",
        f"train       {training.network_size} network, {expected.steps} steps of {training.batch_size} "
        f"pieces on {expected.device}, {training.precision}",
        f"time        about {_duration(expected.seconds)} ({expected.seconds_per_step:.2f} s a step, as two "
        "took now); Ctrl-C saves, and the same command goes on",
        f"voice       {folder.name}, in the library when done",
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _train(folder: TrainingFolder, training: TrainingSettings, progress: Progress, as_json: bool) -> None:
    from ultimate_rvc.rvc.train.loop import run_training as train

    result = train(folder, training, progress)
    if result.voice is None:  # of several processes, only the first tells
        return
    if as_json:
        show_json(asdict(result))
        return
    for line in _summary(folder, result):
        show_line(line)


def _summary(folder: TrainingFolder, result: TrainingResult) -> list[str]:
    assert result.voice is not None
    best = result.best
    lines = [
        f"{result.reason}: epoch {result.epoch}, step {result.step}",
        f"speed       {result.steps_per_second:.2f} steps/s, {result.waited_share:.1%} waiting for data",
    ]
    if best is not None:
        alike = "" if best.similarity is None else f", similarity {best.similarity:.2f}"
        lines.append(
            f"best        epoch {best.epoch}, step {best.step}: mel distance {best.mel_distance:.3f}{alike}"
        )
    return [
        *lines,
        f"logs        {folder.logs} (tensorboard --logdir)",
        f"voice       {result.voice.model}",
        f"index       {result.voice.index}",
    ]


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        show_warning(warning)
