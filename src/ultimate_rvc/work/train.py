"""Training: from recordings to a voice in the library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ultimate_rvc.choices import Device
from ultimate_rvc.errors import DatasetError
from ultimate_rvc.plain import to_plain
from ultimate_rvc.rvc.train.checks import refuse_hopeless
from ultimate_rvc.rvc.train.dataset import Addition
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.work.requests import TrainRequest
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.stopped import StoppedError
from ultimate_rvc.work.workbench import Workbench

if TYPE_CHECKING:
    from ultimate_rvc.rvc.train.estimate import Estimate
    from ultimate_rvc.rvc.train.loop import TrainingResult
    from ultimate_rvc.rvc.train.settings import NetworkChoice
    from ultimate_rvc.rvc.train.tables import PiecesTable


@dataclass(frozen=True)
class TrainingPlan:
    """What is about to be done with the recordings, now that they are cut."""

    job: TrainRequest
    pieces: PiecesTable
    network_size: NetworkChoice
    expected: Estimate


def train(
    job: TrainRequest, bench: Workbench, show_plan: Callable[[TrainingPlan], None] | None = None
) -> WorkResult:
    """Copy the recordings, prepare them, train, and put the voice in the library.

    Recordings that no voice can be trained on are refused before they are copied; what only their
    preparation shows takes them out of the dataset again.

    Raises
    ------
    StoppedError
        The training was stopped on demand; it holds what was made until then.
    DatasetError
        No voice can be trained on these recordings.
    TrainingError, SettingError, VoiceFileError
        As :func:`~ultimate_rvc.rvc.train.loop.run_training`.
    """
    device = bench.device if job.device == Device.AUTO else job.device
    job = replace(
        job,
        extraction=replace(job.extraction, device=device),
        training=replace(job.training, device=device),
    )
    folder = TrainingFolder.named(job.name)
    with bench.step("populate"):
        addition = Addition.of(job.name, job.recordings)
        refuse_hopeless(addition.recordings)  # in seconds: before torch is loaded
        _refuse_what_cannot_be_finished(job, folder, addition)
        addition.copy(bench.progress)
    try:
        pieces = _prepare(job, folder, addition, bench, show_plan)
    except DatasetError:
        addition.take_back()
        raise
    from ultimate_rvc.device import resolve_device
    from ultimate_rvc.rvc.train.loop import run_training

    with bench.step("train"):
        trained = run_training(folder, job.training, bench.progress)
    result = WorkResult(
        files=voice_files(trained),
        steps=tuple(bench.steps),
        warnings=pieces.warnings,
        device=str(resolve_device(device)),
        precision={"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[job.training.precision],
        facts={**training_facts(folder, trained), "dataset_seconds": pieces.dataset_seconds},
    )
    if trained.stopped:
        raise StoppedError(result)
    return result


def _refuse_what_cannot_be_finished(job: TrainRequest, folder: TrainingFolder, addition: Addition) -> None:
    from ultimate_rvc.rvc.train.estimate import expected_description
    from ultimate_rvc.rvc.train.finish import check_voice_name
    from ultimate_rvc.rvc.train.resuming import refuse_other_networks_early

    check_voice_name(folder.name)
    speakers = 1 + max(recording.speaker for recording in addition.recordings)
    expected = expected_description(job.preprocessing.sample_rate, speakers, job.extraction)
    refuse_other_networks_early(folder, expected, job.training)


def _prepare(
    job: TrainRequest,
    folder: TrainingFolder,
    addition: Addition,
    bench: Workbench,
    show_plan: Callable[[TrainingPlan], None] | None,
) -> PiecesTable:
    from ultimate_rvc.rvc.train.estimate import estimate
    from ultimate_rvc.rvc.train.extract import extract_features
    from ultimate_rvc.rvc.train.preprocess import preprocess_dataset
    from ultimate_rvc.rvc.train.sizes import size_here

    with bench.step("preprocess"):
        pieces = preprocess_dataset(folder, addition.folder, job.preprocessing, progress=bench.progress)
    if show_plan is not None:
        expected = estimate(pieces, job.extraction, job.training)
        show_plan(TrainingPlan(job, pieces, size_here(job.training), expected))
    with bench.step("extract"):
        extract_features(folder, job.extraction, progress=bench.progress)
    return pieces


def training_facts(folder: TrainingFolder, trained: TrainingResult) -> dict[str, Any]:
    """How a training ended, as plain values."""
    return {
        "voice": folder.name,
        "stopped": trained.stopped,
        "reason": trained.reason,
        "epoch": trained.epoch,
        "step": trained.step,
        "best": to_plain(asdict(trained.best)) if trained.best is not None else None,
        "steps_per_second": trained.steps_per_second,
        "waited_share": trained.waited_share,
        "folder": str(folder.path),
        "logs": str(folder.logs),
    }


def voice_files(trained: TrainingResult) -> tuple[ResultFile, ...]:
    voice = trained.voice
    if voice is None:
        return ()
    return (ResultFile("voice", voice.model), ResultFile("index", voice.index))
