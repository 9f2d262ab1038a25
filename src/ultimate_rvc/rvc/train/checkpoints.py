"""Everything a training needs to continue as if it had never been interrupted, on disk.

A checkpoint is a folder ``step_<number>`` with ``G.pth`` and ``D.pth``, laid out as RVC lays out its
``G_*.pth`` and ``D_*.pth`` (model, optimizer, learning_rate, iteration), and ``state.pth`` with the
rest. The folder is written beside and renamed when it is complete; only then is the one before it removed.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ultimate_rvc.errors import TrainingError
from ultimate_rvc.rvc.train.folders import TrainingFolder

GENERATOR_FILE = "G.pth"
DISCRIMINATOR_FILE = "D.pth"
STATE_FILE = "state.pth"
WEIGHTS_FOLDER = "weights"  # beside the checkpoints: the voices of saved epochs
_FOLDER = re.compile(r"step_(\d+)(?:\.(\d+))?")  # the second number: saved again at the same step
_UNFINISHED_SUFFIX = ".partial"


@dataclass(frozen=True)
class Checkpoint:
    """What the three files hold; each a mapping of plain values and tensors."""

    generator: Mapping[str, Any]
    discriminator: Mapping[str, Any]
    state: Mapping[str, Any]


def checkpoint_folders(folder: Path) -> list[Path]:
    """The complete checkpoints below ``folder``, earliest first."""
    if not folder.is_dir():
        return []
    found = [
        (int(match[1]), int(match[2] or 0), path)
        for path in folder.iterdir()
        if (match := _FOLDER.fullmatch(path.name))
    ]
    return [path for *_, path in sorted(found)]


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint, *, keep_all: bool) -> Path:
    """Write a checkpoint; unless ``keep_all``, those before it are removed once it is complete.

    Raises
    ------
    TrainingError
        It cannot be written, as when the disk is full; what was there before is untouched.
    """
    final = _free_name(folder, step)
    unfinished = folder / f"{final.name}{_UNFINISHED_SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        _write(unfinished / GENERATOR_FILE, checkpoint.generator)
        _write(unfinished / DISCRIMINATOR_FILE, checkpoint.discriminator)
        _write(unfinished / STATE_FILE, checkpoint.state)
        unfinished.rename(final)
        _sync_folder(folder)
    # torch reports a failed write as a RuntimeError of its archive writer.
    except (OSError, RuntimeError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise TrainingError(_what_is_kept(folder, step, error)) from error
    if not keep_all:
        for older in checkpoint_folders(folder):
            if older != final:
                shutil.rmtree(older, ignore_errors=True)
    return final


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The latest checkpoint below ``folder``, on the CPU; None where there is none.

    Raises
    ------
    TrainingError
        It cannot be read.
    """
    parts = _read_latest(folder, GENERATOR_FILE, DISCRIMINATOR_FILE, STATE_FILE)
    return None if parts is None else Checkpoint(*parts)


def load_state(folder: Path) -> Mapping[str, Any] | None:
    """Of :func:`load_checkpoint` the part ``state`` alone."""
    parts = _read_latest(folder, STATE_FILE)
    return None if parts is None else parts[0]


def _read_latest(folder: Path, *names: str) -> list[Any] | None:
    folders = checkpoint_folders(folder)
    if not folders:
        return None
    latest = folders[-1]
    try:
        return [torch.load(latest / name, map_location="cpu", weights_only=True) for name in names]
    except Exception as error:  # torch names a damaged file in a dozen ways
        raise TrainingError(
            f"The checkpoint {latest} is damaged: remove that folder to continue from the one before it, if "
            "there is one, or set clear_saved_data to begin again."
        ) from error


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed training had begun to write."""
    for leftover in folder.glob(f"step_*{_UNFINISHED_SUFFIX}"):
        shutil.rmtree(leftover, ignore_errors=True)


def remove_everything(folder: TrainingFolder) -> None:
    """Forget an earlier training: its checkpoints, voices and logs; the prepared data stay."""
    for path in (folder.checkpoints, folder.path / WEIGHTS_FOLDER, folder.logs):
        if path.exists():
            shutil.rmtree(path)


def random_states() -> dict[str, Any]:
    """The states of every generator of this process, as plain values and tensors."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    elif torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Put back what :func:`random_states` gave; a device that is gone is left out."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("wb") as file:
        torch.save(dict(content), file)
        file.flush()
        os.fsync(file.fileno())


def _free_name(folder: Path, step: int) -> Path:
    """A name after all that are there: a checkpoint is never removed to make room for its successor."""
    final, again = folder / f"step_{step:08d}", 0
    while final.exists():
        again += 1
        final = folder / f"step_{step:08d}.{again}"
    return final


def _sync_folder(folder: Path) -> None:
    """Let the new name itself survive a loss of power."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _what_is_kept(folder: Path, step: int, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    kept = checkpoint_folders(folder)
    rest = f"the one before it, {kept[-1].name}, is kept" if kept else "there is none before it"
    return (
        f"The checkpoint of step {step} cannot be written to {folder} ({reason}); {rest}. Make room and "
        "start the same training again to continue."
    )
