"""How long a training will take on this machine, measured on two steps before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from ultimate_rvc.choices import EmbedderModel, VoiceVersion
from ultimate_rvc.rvc.content.whisper_encoder import DIM
from ultimate_rvc.rvc.train.accelerators import open_accelerator
from ultimate_rvc.rvc.train.batches import Batch, Example
from ultimate_rvc.rvc.train.data_settings import ExtractSettings
from ultimate_rvc.rvc.train.draws import ExampleDraws
from ultimate_rvc.rvc.train.extract import PITCH_FRAMES
from ultimate_rvc.rvc.train.networks import Networks, build_networks
from ultimate_rvc.rvc.train.portions import at_least
from ultimate_rvc.rvc.train.settings import TrainingSettings
from ultimate_rvc.rvc.train.step import Learner
from ultimate_rvc.rvc.train.tables import DataDescription, PiecesTable

PITCH, F0_HZ = 100, 220.0  # of the made-up piece
PHONE_DIMS = {VoiceVersion.V1: 256, VoiceVersion.V2: 768}
STARTER_PHONE_DIM = DIM


@dataclass(frozen=True)
class Estimate:
    """What is expected of a training; ``device`` is the kind of device it was measured on."""

    steps: int
    seconds_per_step: float
    device: str

    @property
    def seconds(self) -> float:
        return self.steps * self.seconds_per_step


def estimate(pieces: PiecesTable, extraction: ExtractSettings, training: TrainingSettings) -> Estimate:
    """Expect every step to take as long as the second of two here, with pieces of the average length.

    Raises
    ------
    SettingError, VoiceFileError
        As :func:`~ultimate_rvc.rvc.train.loop.run_training` would later.
    """
    count = len(pieces.pieces)
    steps = training.num_epochs * -(-count // training.batch_size)
    if training.max_steps is not None:
        steps = min(steps, training.max_steps)
    description = expected_description(pieces.sample_rate, pieces.speakers, extraction)
    with open_accelerator(training.device, training.precision) as accelerator:
        networks = build_networks(description, training)
        learner = Learner(accelerator, networks, training)
        frames = PITCH_FRAMES * pieces.frames // count
        batch = _batch(networks, extraction, frames, training.batch_size)
        batch = at_least(batch, networks.sizes.segment_frames).to(accelerator.device)
        seconds = 0.0
        for _ in range(2):  # the first chooses kernels
            started = time.perf_counter()
            draws = ExampleDraws(training.seed, 0, range(training.batch_size), batch.lengths.tolist())
            losses = learner.step(batch, training.warm_up_steps, draws, frames * training.batch_size)
            losses.tolist()  # waits for the device
            seconds = time.perf_counter() - started
        return Estimate(steps, seconds, accelerator.device.type)


def expected_description(sample_rate: int, speakers: int, extraction: ExtractSettings) -> DataDescription:
    """What data that are not there yet will be, as far as networks depend on it."""
    is_starter = extraction.embedder_model == EmbedderModel.STARTER
    return DataDescription(
        sample_rate=sample_rate,
        version=extraction.version,
        has_f0=extraction.has_f0,
        embedder=extraction.embedder_model,
        embedder_identity="",
        custom_embedder_model=None,
        phone_dim=STARTER_PHONE_DIM if is_starter else PHONE_DIMS[VoiceVersion(extraction.version)],
        speakers=tuple(map(str, range(speakers))),
        n_fft=0,
        hop_length=0,
        f0_method=None,
        dataset_seconds=0.0,
        f0_percentiles_hz=None,
    )


def _batch(networks: Networks, extraction: ExtractSettings, frames: int, size: int) -> Batch:
    config = networks.config
    example = Example(
        features=torch.zeros(frames, config.phone_dim),
        pitch=torch.full((frames,), PITCH) if extraction.has_f0 else None,
        f0_hz=torch.full((frames,), F0_HZ) if extraction.has_f0 else None,
        spectrogram=torch.rand(frames, config.spec_channels),
        waveform=torch.rand(frames * config.hop_length) - 0.5,
        speaker=0,
    )
    return Batch.of([example] * size)
