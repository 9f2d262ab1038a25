"""Separation by networks, through pymss: one checkpoint, one array in, one stem out."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ultimate_rvc.device import is_out_of_memory
from ultimate_rvc.errors import OutOfMemoryError, SeparationError, UltimateRVCError
from ultimate_rvc.progress import Progress
from ultimate_rvc.separation.blocks import fit_length, map_blocks_at
from ultimate_rvc.separation.choose import ModelFiles
from ultimate_rvc.separation.models import STEP_NAMES, SeparationTask

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

# Networks that separate; pymss also knows restorers and others, which no step here can use.
ARCHITECTURES = frozenset(
    {
        "bs_roformer",
        "bs_conformer",
        "mel_band_roformer",
        "mel_band_conformer",
        "mdx23c",
        "scnet",
        "htdemucs",
        "vr",
    }
)
# pymss opens these checkpoints with the unrestricted unpickler, so they are checked here first.
PICKLED_ARCHITECTURES = frozenset({"htdemucs", "vr"})


def extract(
    files: ModelFiles,
    task: SeparationTask,
    waveform: FloatArray,
    sample_rate: int,
    progress: Progress,
    device: str = "auto",
) -> FloatArray:
    """The stem that ``task`` wants, ``(channels, samples)`` in and out at ``sample_rate``.

    Raises
    ------
    SeparationError
        The checkpoint cannot be loaded or run, the device does not exist, or no stem fits the task.
    OutOfMemoryError
        Not even short chunks fit the device.
    """
    files = _with_architecture(files)
    _refuse_executable(files)
    chunk_size: int | None = None
    while True:
        try:
            return _extract_once(files, task, waveform, sample_rate, progress, device, chunk_size)
        except UltimateRVCError:
            raise
        except Exception as error:  # pymss raises whatever torch, yaml or the model raised
            if not is_out_of_memory(error):
                raise SeparationError(_failure(files, device, error)) from error
            chunk_size = _smaller_chunk(files, chunk_size, error)


def _extract_once(
    files: ModelFiles,
    task: SeparationTask,
    waveform: FloatArray,
    sample_rate: int,
    progress: Progress,
    device: str,
    chunk_size: int | None,
) -> FloatArray:
    step_name = STEP_NAMES[task]
    progress.report(step_name, 0.0, f"loading {files.name}")
    separator = _open(files, device, chunk_size)
    try:
        rate = int(separator.config.audio.get("sample_rate", 44_100))

        def run(part: FloatArray, part_progress: Progress) -> FloatArray:
            separator.progress_callback = lambda done, total, _message: part_progress.report(
                step_name, done / total if total else 0.0
            )
            return _run_block(separator, files, task, part, rate)

        return map_blocks_at(
            rate, waveform, sample_rate, BLOCK_SECONDS, OVERLAP_SECONDS, run, progress, step_name
        )
    finally:
        separator.close()


def _open(files: ModelFiles, device: str, chunk_size: int | None) -> Any:
    from pymss import MSSeparator

    return MSSeparator(
        model_type=files.architecture,
        model_path=str(files.checkpoint),
        config_path=str(files.config) if files.config else None,
        device=str(device),
        store_dirs={},
        logger=_debug_logger(),
        inference_params={"chunk_size": chunk_size, "normalize": False},
        target_instrument_override=files.target,
    )


def _run_block(
    separator: Any, files: ModelFiles, task: SeparationTask, block: FloatArray, rate: int
) -> FloatArray:
    length = block.shape[-1]
    padded = fit_length(block, max(length, round(SHORTEST_SECONDS * rate)))
    stems = separator.separate(padded, pbar=False)
    stem = _pick(files.name, task, padded, stems)[:, :length]
    if not np.isfinite(stem).all():
        raise SeparationError(
            f"The separation model '{files.name}' produced samples that are not numbers: "
            "its checkpoint is damaged or does not fit its configuration; fetch it again."
        )
    return stem


def _pick(name: str, task: SeparationTask, block: FloatArray, stems: dict[str, Any]) -> FloatArray:
    """The wanted stem among a model's, or the block minus the remaining one."""
    by_name = {stem.strip().lower(): audio for stem, audio in stems.items()}
    for wanted in WANTED_STEMS[task]:
        if wanted in by_name:
            return fit_length(np.asarray(by_name[wanted], dtype=np.float32).T, block.shape[-1])
    for remaining in REMAINING_STEMS[task]:
        if remaining in by_name:
            return block - fit_length(np.asarray(by_name[remaining], dtype=np.float32).T, block.shape[-1])
    raise SeparationError(
        f"The separation model '{name}' gives {', '.join(stems)}, none of which is what the step "
        f"'{STEP_NAMES[task]}' needs: choose another model."
    )


# --- safety and failures ------------------------------------------------------------------------


def _with_architecture(files: ModelFiles) -> ModelFiles:
    """``auto`` replaced by what the configuration describes; only networks that separate pass."""
    architecture = files.architecture
    if architecture == "auto":
        from pymss import detect_model_type
        from pymss.config import load_config

        try:
            architecture = str(detect_model_type(load_config(str(files.config))))
        except Exception as error:  # yaml's and pymss's own, all about this one file
            raise SeparationError(
                f"The configuration {files.config} does not describe a separation model: {_line(error)}"
            ) from error
    if architecture not in ARCHITECTURES:
        raise SeparationError(
            f"The separation model '{files.name}' is of the kind '{architecture}', which separates no stems "
            f"here: choose one of the kinds {', '.join(sorted(ARCHITECTURES))}."
        )
    return replace(files, architecture=architecture)


def _refuse_executable(files: ModelFiles) -> None:
    """Read a pickled checkpoint with the restricted unpickler; what that refuses could run code."""
    if files.architecture not in PICKLED_ARCHITECTURES:
        return  # pymss itself reads these restricted
    try:
        with torch.serialization.safe_globals(_harmless_classes()):
            torch.load(files.checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated, not a checkpoint, or naming foreign code
        raise SeparationError(
            f"The separation model '{files.name}' ({files.checkpoint}) is refused: it is damaged, or loading "
            "it would run foreign code. Fetch it again from its author as plain weights."
        ) from error


def _harmless_classes() -> list[Any]:
    """What Demucs checkpoints name besides tensors: their own class (never built here) and fractions."""

    class Named:
        """Stands for a class that the checkpoint only mentions."""

    demucs = [f"demucs.{name}" for name in ("demucs.Demucs", "hdemucs.HDemucs", "htdemucs.HTDemucs")]
    return [Fraction, *((Named, name) for name in demucs)]


def _smaller_chunk(files: ModelFiles, chunk_size: int | None, error: Exception) -> int:
    """Half the chunk that did not fit; the first time it is read from the configuration."""
    if files.config is not None:
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
        f"{_line(error)} Try another device, fetch the checkpoint again, or use the model 'dsp'."
    )


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (lines[0] if lines else type(error).__name__)[:200]
    return text if text.endswith((".", "!", "?")) else f"{text}."


class _DebugHandler(logging.Handler):
    """Passes pymss's messages on as debug messages of ours: its advice is not for our users."""

    def emit(self, record: logging.LogRecord) -> None:
        log.debug("pymss: %s", record.getMessage())


def _debug_logger() -> logging.Logger:
    logger = logging.Logger("pymss")  # not registered, so nothing else is changed
    logger.addHandler(_DebugHandler())
    return logger
