"""Separation by networks: files of a network and an array in, one stem out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ultimate_rvc.device import is_out_of_memory, release_cached_memory, resolve_device
from ultimate_rvc.errors import OutOfMemoryError, SeparationError, UltimateRVCError, first_line
from ultimate_rvc.progress import Progress
from ultimate_rvc.separation.blocks import fit_length, map_blocks_at
from ultimate_rvc.separation.choose import ModelFiles
from ultimate_rvc.separation.models import MDX_NET, STEP_NAMES, Effort, SeparationTask

if TYPE_CHECKING:
    from ultimate_rvc.separation.mdx_net import MdxNetwork
    from ultimate_rvc.separation.pymss_network import PymssNetwork

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]

BLOCK_SECONDS = 300.0  # pymss holds several copies of what it is given: about 700 MB for five minutes
OVERLAP_SECONDS = 2.0
SHORTEST_SECONDS = 1.0  # padded with silence up to this, since some networks need several frames
FEWEST_CHUNK_SECONDS = 1.5  # chunks are halved on a full device, but not below this

# What models call the stem that a task extracts, and what they call the rest.
WANTED_STEMS = {
    SeparationTask.VOCALS: ("vocals", "vocal", "voices", "voc", "speech"),
    SeparationTask.LEAD: ("karaoke", "lead", "lead vocals", "vocals"),
    SeparationTask.REVERB: ("noreverb", "no reverb", "dry", "no echo", "noecho"),
}
REMAINING_STEMS = {
    SeparationTask.VOCALS: ("instrumental", "instrument", "inst", "other", "accompaniment"),
    SeparationTask.LEAD: ("backing", "back", "instrumental", "other"),
    SeparationTask.REVERB: ("reverb", "echo", "no dry"),
}


def extract(
    files: ModelFiles,
    task: SeparationTask,
    waveform: FloatArray,
    sample_rate: int,
    progress: Progress,
    device: str = "auto",
    effort: Effort | None = None,
) -> FloatArray:
    """The stem that ``task`` wants, ``(channels, samples)`` in and out at ``sample_rate``.

    Raises
    ------
    SeparationError
        The checkpoint cannot be loaded or run, the device does not exist, or no stem fits the task.
    OutOfMemoryError
        Not even short chunks fit the device.
    """
    if files.architecture != MDX_NET:
        from ultimate_rvc.separation.pymss_network import refuse_executable, with_architecture

        files = with_architecture(files)
        refuse_executable(files)
    chunk_size: int | None = None
    while True:
        try:
            progress.report(STEP_NAMES[task], 0.0, f"loading {files.name}")
            network = _open(files, device, chunk_size, effort or Effort())
            try:
                return _extract_by(network, files.name, task, waveform, sample_rate, progress)
            finally:
                network.close()
                del network
                release_cached_memory(resolve_device("cpu"))
        except UltimateRVCError:
            raise
        except Exception as error:  # pymss raises whatever torch, yaml or the model raised
            if not is_out_of_memory(error):
                raise SeparationError(_failure(files, device, error)) from error
            chunk_size = _smaller_chunk(files, chunk_size, error)


def _open(
    files: ModelFiles, device: str, chunk_size: int | None, effort: Effort
) -> MdxNetwork | PymssNetwork:
    if files.architecture == MDX_NET:
        from ultimate_rvc.separation.mdx_net import MdxNetwork

        return MdxNetwork(files.name, files.checkpoint, files.config, device, effort)
    from ultimate_rvc.separation.pymss_network import PymssNetwork

    return PymssNetwork(files, device, chunk_size, effort)


def _extract_by(
    network: MdxNetwork | PymssNetwork,
    name: str,
    task: SeparationTask,
    waveform: FloatArray,
    sample_rate: int,
    progress: Progress,
) -> FloatArray:
    step_name = STEP_NAMES[task]
    shortest = round(SHORTEST_SECONDS * network.sample_rate)

    def run(part: FloatArray, part_progress: Progress) -> FloatArray:
        length = part.shape[-1]
        padded = fit_length(part, max(length, shortest))
        stems = network.stems(padded, lambda done: part_progress.report(step_name, done))
        stem = _pick(name, task, padded, stems)[:, :length]
        if not np.isfinite(stem).all():
            raise SeparationError(
                f"The separation model '{name}' produced samples that are not numbers: "
                "its checkpoint is damaged or does not fit its configuration; fetch it again."
            )
        return stem

    return map_blocks_at(
        network.sample_rate, waveform, sample_rate, BLOCK_SECONDS, OVERLAP_SECONDS, run, progress, step_name
    )


def _pick(name: str, task: SeparationTask, block: FloatArray, stems: dict[str, FloatArray]) -> FloatArray:
    """The wanted stem among a model's, or the block minus the remaining one."""
    by_name = {stem.strip().lower(): audio for stem, audio in stems.items()}
    for wanted in WANTED_STEMS[task]:
        if wanted in by_name:
            return fit_length(by_name[wanted], block.shape[-1])
    for remaining in REMAINING_STEMS[task]:
        if remaining in by_name:
            return block - fit_length(by_name[remaining], block.shape[-1])
    raise SeparationError(
        f"The separation model '{name}' gives {', '.join(stems)}, none of which is what the step "
        f"'{STEP_NAMES[task]}' needs: choose another model."
    )


# --- failures -----------------------------------------------------------------------------------


def _smaller_chunk(files: ModelFiles, chunk_size: int | None, error: Exception) -> int:
    """Half the chunk that did not fit; the first time it is read from the configuration."""
    if files.config is not None and files.architecture != MDX_NET:
        from pymss.config import load_config

        audio = load_config(str(files.config)).audio
        halved = int(chunk_size or audio.chunk_size) // 2
        if halved >= FEWEST_CHUNK_SECONDS * int(audio.get("sample_rate", 44_100)):
            log.warning("The device is out of memory; separating in chunks of %d samples instead.", halved)
            return halved
    raise OutOfMemoryError(
        f"The device has too little memory for the separation model '{files.name}', even in short chunks: "
        "close other programs, or use the device 'cpu' or the model 'dsp'."
    ) from error


def _failure(files: ModelFiles, device: str, error: Exception) -> str:
    return (
        f"The separation model '{files.name}' ({files.checkpoint}) could not be run on '{device}': "
        f"{first_line(error)} Try another device, fetch the checkpoint again, or use the model 'dsp'."
    )
