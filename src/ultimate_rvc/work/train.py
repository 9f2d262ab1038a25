"""The job ``train``: from recordings to a voice in the library."""

from __future__ import annotations

from dataclasses import asdict, replace

from ultimate_rvc.choices import Device
from ultimate_rvc.device import resolve_device
from ultimate_rvc.plain import to_plain
from ultimate_rvc.rvc.train.dataset import populate_dataset
from ultimate_rvc.rvc.train.extract import extract_features
from ultimate_rvc.rvc.train.folders import TrainingFolder, dataset_folder
from ultimate_rvc.rvc.train.loop import TrainingResult, run_training
from ultimate_rvc.rvc.train.preprocess import preprocess_dataset
from ultimate_rvc.work.requests import TrainRequest
from ultimate_rvc.work.result import ResultFile, WorkResult
from ultimate_rvc.work.stopped import StoppedError
from ultimate_rvc.work.workbench import Workbench


def train(job: TrainRequest, bench: Workbench) -> WorkResult:
    device = bench.device if job.device == Device.AUTO else job.device
    folder = TrainingFolder.named(job.name)
    dataset = dataset_folder(job.name)
    if job.recordings:
        with bench.step("populate"):
            populate_dataset(job.name, job.recordings, progress=bench.progress)
    with bench.step("preprocess"):
        pieces = preprocess_dataset(folder, dataset, job.preprocessing, progress=bench.progress)
    with bench.step("extract"):
        extract_features(folder, replace(job.extraction, device=device), progress=bench.progress)
    with bench.step("train"):
        trained = run_training(folder, replace(job.training, device=device), bench.progress)
    result = WorkResult(
        files=_files(trained),
        steps=tuple(bench.steps),
        warnings=tuple(pieces.warnings),
        device=str(resolve_device(device)),
        precision={"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[job.training.precision],
        facts={
            "voice": job.name,
            "reason": trained.reason,
            "epoch": trained.epoch,
            "step": trained.step,
            "best": to_plain(asdict(trained.best)) if trained.best is not None else None,
            "steps_per_second": trained.steps_per_second,
            "dataset_seconds": pieces.dataset_seconds,
            "folder": str(folder.path),
            "logs": str(folder.logs),
        },
    )
    if trained.stopped:
        raise StoppedError(result)
    return result


def _files(trained: TrainingResult) -> tuple[ResultFile, ...]:
    voice = trained.voice
    if voice is None:
        return ()
    return (ResultFile("voice", voice.model), ResultFile("index", voice.index))
