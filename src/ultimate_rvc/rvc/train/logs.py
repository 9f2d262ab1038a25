"""What a training tells while it runs: a line per epoch, and curves, pictures and sound for TensorBoard."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]

LINES_FILE = "train.log"
TENSORBOARD_FOLDER = "tensorboard"
QUIETEST = -11.5  # natural log of a mel magnitude that is drawn black: the floor of 1e-5
LOUDEST = 1.5
_STEP = re.compile(r" step (\d+) ")


@dataclass(frozen=True)
class EpochLine:
    """What is said of one epoch, or of the part of it that was done without a break."""

    epoch: int
    step: int
    losses: Mapping[str, float]
    seconds: float
    steps: int
    waited_share: float

    def __str__(self) -> str:
        losses = ", ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
        speed = self.steps / self.seconds if self.seconds > 0 else 0.0
        return (
            f"epoch {self.epoch} step {self.step} | {losses} | {self.seconds:.1f} s, {speed:.2f} steps/s, "
            f"{100 * self.waited_share:.1f} % waiting for data"
        )


@dataclass(frozen=True)
class Excerpt:
    """A piece that was not trained on, as it was recorded and as the voice renders it.

    Waveforms are mono in [-1, 1]; mels natural logarithms of shape (bands, frames).
    """

    recording: FloatArray
    conversion: FloatArray
    recording_mel: FloatArray
    conversion_mel: FloatArray
    sample_rate: int


class TrainingLog:
    """Writes below ``folder``: ``train.log``, and ``tensorboard`` for ``tensorboard --logdir``.

    What an earlier run wrote after ``step``, from where this one continues, is taken back: those steps come
    again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._lines = folder, folder / LINES_FILE
        _forget_lines_after(self._lines, step)
        purge = {"purge_step": step + 1} if step else {}
        self._writer = SummaryWriter(str(folder / TENSORBOARD_FOLDER), **purge)

    def line(self, text: str) -> None:
        log.info("%s", text)
        with going_on_without(self._lines), self._lines.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        with going_on_without(self._folder):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def excerpt(self, excerpt: Excerpt, step: int) -> None:
        """Pictures of both spectrograms, and both sounds."""
        with going_on_without(self._folder):
            for name in ("recording", "conversion"):
                picture = mel_picture(getattr(excerpt, f"{name}_mel"))
                self._writer.add_image(f"held-out/{name}", picture, step, dataformats="HWC")
                waveform = getattr(excerpt, name)[None]
                self._writer.add_audio(f"held-out/{name}", waveform, step, sample_rate=excerpt.sample_rate)
            self._writer.flush()

    def close(self) -> None:
        with going_on_without(self._folder):
            self._writer.close()


@contextmanager
def going_on_without(path: Path) -> Iterator[None]:
    """Let a log or plot that cannot be written, as on a full disk, not end the training it tells of."""
    try:
        yield
    except OSError as error:
        log.warning("%s cannot be written (%s); the training continues.", path, error.strerror)


def mel_picture(mel: FloatArray) -> NDArray[np.uint8]:
    """A mel spectrogram (bands, frames) as a picture (height, width, 3), low bands at the bottom."""
    from matplotlib import colormaps

    brightness = np.clip((mel[::-1] - QUIETEST) / (LOUDEST - QUIETEST), 0, 1)
    colours: NDArray[np.uint8] = colormaps["magma"](brightness, bytes=True)[..., :3]
    return np.repeat(np.repeat(colours, 2, axis=0), 2, axis=1)


def _forget_lines_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if (found := _STEP.search(line)) is None or int(found[1]) <= step]
    if len(kept) < len(lines):
        path.write_text("".join(kept), encoding="utf-8")
