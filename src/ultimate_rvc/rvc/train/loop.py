"""The training loop: from prepared data to a voice, in one process or many, to be interrupted at any time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ultimate_rvc.errors import CancelledError, TrainingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.train.accelerators import open_accelerator
from ultimate_rvc.rvc.train.checkpoints import (
    load_checkpoint,
    remove_everything,
    remove_unfinished,
    restore_random_states,
)
from ultimate_rvc.rvc.train.feed import Feed
from ultimate_rvc.rvc.train.finish import FinishedVoice, VoiceParts, check_voice_name, finish_voice
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.logs import EpochLine
from ultimate_rvc.rvc.train.networks import build_networks
from ultimate_rvc.rvc.train.overtraining import OvertrainingDetector
from ultimate_rvc.rvc.train.portions import Portion, Portions, Preloaded, TrainingData
from ultimate_rvc.rvc.train.position import DataKeys, Position
from ultimate_rvc.rvc.train.resuming import NETWORKS, deciding_settings, refuse_other_networks
from ultimate_rvc.rvc.train.saving import Saver
from ultimate_rvc.rvc.train.scores import Score, best_score
from ultimate_rvc.rvc.train.settings import TrainingSettings
from ultimate_rvc.rvc.train.step import DISCRIMINATOR, GENERATOR, LOSSES, VALUES, Learner
from ultimate_rvc.rvc.train.stopping import StopWish, stop_wishes

if TYPE_CHECKING:
    from accelerate import Accelerator


PROGRESS_STEP = "train"
LOCK_FILE = ".training.lock"


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended.

    ``reason`` says why in a few words; ``stopped`` is True after Ctrl-C or a cancelled progress object.
    ``voice`` is what was written, None in all processes but the first. ``steps_per_second`` and
    ``waited_share``, the share of the time spent waiting for data, are of this run.
    """

    stopped: bool
    reason: str
    epoch: int
    step: int
    best: Score | None
    voice: FinishedVoice | None
    steps_per_second: float
    waited_share: float


def run_training(
    folder: TrainingFolder, settings: TrainingSettings, progress: Progress | None = None
) -> TrainingResult:
    """Train a voice on the data in ``folder``, from where an earlier run ended.

    To train on several GPUs or machines, call it in every process that ``accelerate launch`` starts, with
    ``folder`` on storage that all machines share. Several processes on processors start by ``torchrun``.

    Parameters
    ----------
    folder : TrainingFolder
        With preprocessed and extracted data.
    settings : TrainingSettings
    progress : Progress, optional
        Hears of every epoch and every few steps; cancelling it saves and ends the training as Ctrl-C does.

    Returns
    -------
    TrainingResult
        The voice lies in the library of voices then.

    Raises
    ------
    TrainingError
        There are no data, a checkpoint cannot be read or written, the losses are no numbers any more, or a
        voice of this name is there that no training made.
    SettingError, VoiceFileError
        The settings or a pretrained file do not fit the data or this machine.
    """
    from ultimate_rvc.rvc.train.store import TrainingSet

    return train(TrainingSet.open(folder), folder, settings, progress)


def train(
    data: TrainingData, folder: TrainingFolder, settings: TrainingSettings, progress: Progress | None = None
) -> TrainingResult:
    """:func:`run_training` on ``data``."""
    progress = progress or Progress()
    with (
        open_accelerator(settings.device, settings.precision) as accelerator,
        _only_training(folder) if accelerator.is_main_process else nullcontext(),
        stop_wishes(progress) as wish,
    ):
        return _Run(data, folder, settings, progress, accelerator, wish).go()


@contextmanager
def _only_training(folder: TrainingFolder) -> Iterator[None]:
    """Keep a second training out of ``folder``; the lock ends with the process, however that ends."""
    from filelock import FileLock, Timeout

    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.path / LOCK_FILE, blocking=False):
            yield
    except Timeout as error:
        raise TrainingError(
            f"{folder.name!r} is being trained already; wait until that has ended."
        ) from error


class _Run:
    """One run of the loop in one process."""

    def __init__(
        self,
        data: TrainingData,
        folder: TrainingFolder,
        settings: TrainingSettings,
        progress: Progress,
        accelerator: Accelerator,
        wish: StopWish,
    ) -> None:
        self.folder, self.settings, self.progress = folder, settings, progress
        self.accelerator, self.wish = accelerator, wish
        self.data = Preloaded(data) if settings.preload_dataset else data
        self.networks = build_networks(data.description, settings)
        self.learner = Learner(accelerator, self.networks, settings)
        self.portions = Portions(
            self.data,
            batch_size=settings.batch_size * accelerator.num_processes,
            seed=settings.seed,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
            segment_frames=self.networks.sizes.segment_frames,
            pin_memory=accelerator.device.type == "cuda",
        )
        self.position = Position(sums=torch.zeros(len(VALUES), device=accelerator.device))
        self.detector = OvertrainingDetector(settings.overtraining_threshold)
        self.keys = DataKeys.of(data.frames, data.key, self.portions.batch_size, settings.seed)
        self.saver = Saver(self.data, folder, settings, accelerator, self.learner)
        self.stopped = False
        self.clock = _Clock()
        self._last_save, self._saved_step = time.monotonic(), -1

    def go(self) -> TrainingResult:
        with closing(self.saver):
            self._begin()
            reason = self._reason_to_end() or self._steps()
            self._save_the_end()
            self.saver.line(f"ended at epoch {self.position.epoch} step {self.position.step} : {reason}")
            voice = self._finish()
        return TrainingResult(
            stopped=self.stopped,
            reason=reason,
            epoch=self.position.epoch,
            step=self.position.step,
            best=best_score(self.position.scores),
            voice=voice,
            steps_per_second=self.clock.run.steps_per_second,
            waited_share=self.clock.run.waited_share,
        )

    # --- beginning and ending --------------------------------------------------------------------

    def _begin(self) -> None:
        if self.accelerator.is_main_process:
            check_voice_name(self.folder.name)
            if self.settings.clear_saved_data:
                remove_everything(self.folder)
            remove_unfinished(self.folder.checkpoints)
        self.accelerator.wait_for_everyone()
        notes = [*self.networks.notes, *self._resume()]
        self._check_shared_folder()
        self.saver.open_log(self.position.step)
        description, weights = self.data.description, self.networks.generator.parameters()
        notes.append(
            f"{len(self.data)} pieces ({description.dataset_seconds:.0f} s), "
            f"{self.portions.steps_per_epoch} steps per epoch, "
            f"{sum(weight.numel() for weight in weights) / 1e6:.1f} million weights, "
            f"{self.settings.precision} on {self.accelerator.num_processes} x {self.accelerator.device.type}"
        )
        for note in notes:
            self.saver.line(note)

    def _resume(self) -> list[str]:
        """Continue from the latest checkpoint, if there is one; returns notes about it for the log."""
        checkpoint = load_checkpoint(self.folder.checkpoints)
        if checkpoint is None:
            return []
        state: Mapping[str, Any] = checkpoint.state
        now = deciding_settings(self.data.description, self.settings, self.networks.config)
        refuse_other_networks(self.folder.name, state.get(NETWORKS), now)
        try:
            self.learner.load(checkpoint.generator, checkpoint.discriminator, state["learner"])
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"The checkpoint in {self.folder.checkpoints} is of other networks than these settings ask "
                "for: train with the settings it was begun with, or set clear_saved_data to begin again."
            ) from error
        fits = self.position.load(state, self.detector, self.keys)
        processes = state["random"]
        restore_random_states(processes[self.accelerator.process_index % len(processes)])
        notes = [f"continuing from epoch {self.position.epoch} step {self.position.step} "]
        if not fits:
            notes.append(
                "The pieces or the batch size are others than before: the running epoch starts again."
            )
        self._saved_step = self.position.step
        return notes

    def _check_shared_folder(self) -> None:
        """Raise TrainingError where machines see different checkpoints: they would train different voices."""
        step = torch.tensor([self.position.step], device=self.accelerator.device)
        steps: list[int] = self.accelerator.gather(step).tolist()
        if len(set(steps)) > 1:
            raise TrainingError(
                f"The processes of this training find different checkpoints in {self.folder.path}: let "
                "URVC_TRAINING_DIR be a folder that all machines share."
            )

    def _save_the_end(self) -> None:
        """Save what is not saved yet; after Ctrl-C without the score, unless there is no voice at all yet."""
        scores = self.position.scores
        scored = not scores or (not self.stopped and scores[-1].step != self.position.step)
        if scored or self._saved_step != self.position.step:
            self._save(scored=scored)

    def _finish(self) -> FinishedVoice | None:
        if not self.accelerator.is_main_process:
            return None
        found = self.saver.best_weights(self.position)
        if found is None:
            raise TrainingError(
                f"The voices of this training are gone from {self.folder.path}: set "
                "clear_saved_data to begin again."
            )
        score, weights = found
        training = {
            "epochs": self.position.epoch,
            "steps": self.position.step,
            "seconds": round(self.position.seconds),
            "batch_size": self.portions.batch_size,
            "learning_rate": self.settings.learning_rate,
            "precision": str(self.settings.precision),
            "seed": self.settings.seed,
            "best": score.state(),
        }
        parts = VoiceParts(weights, self.data.description, self.data.features, training)
        # A cancelled progress object ended the training; it must not end this as well.
        progress = Progress() if self.stopped else self.progress
        device = self.accelerator.device
        return finish_voice(self.folder, parts, self.settings, device=device, progress=progress)

    # --- steps -----------------------------------------------------------------------------------

    def _steps(self) -> str:
        """Make steps until there is a reason to end."""
        position, settings = self.position, self.settings
        plan = self.portions.plan(position.epoch, position.batch, settings.num_epochs)
        with closing(Feed(plan, self.portions.make)) as feed:
            self.clock.start()
            for portion in feed:
                self._step(portion)
                self.clock.count(feed.waited_seconds)
                wishes_to_stop, wishes_to_save = self._agreed_wishes()
                self.stopped = wishes_to_stop
                overtraining = self._end_epoch() if portion.ends_epoch else None
                self._save_if_due(portion.ends_epoch, wishes_to_save)
                if reason := self._reason_to_end() or overtraining:
                    return reason
        raise AssertionError("the plan ends with the last epoch")

    def _step(self, portion: Portion) -> None:
        position = self.position
        batch = portion.batch.to(self.accelerator.device)
        draws = portion.draws(self.settings.seed, position.step)
        values = self.learner.step(batch, position.step, draws, portion.frames_of_all)
        position.sums += values
        position.batch += 1
        position.step += 1
        if position.step % self.settings.log_steps == 0:
            self._log_step(values)

    def _log_step(self, values: torch.Tensor) -> None:
        named = self._named(values)
        named["learning_rate"] = self.learner.learning_rate
        self.saver.scalars({f"train/{name}": value for name, value in named.items()}, self.position.step)
        losses = f"loss {named[GENERATOR]:.2f}, mel {named['mel']:.2f}"
        self._tell(f"step {self.position.step}, {losses}, {self.clock.epoch.steps_per_second:.2f} steps/s")

    def _end_epoch(self) -> str | None:
        """Tell of the epoch and begin the next; returns why to stop if the voice is overtrained."""
        position = self.position
        averages = self._named(position.sums / position.batch)
        self.learner.end_epoch(position.step)
        position.epoch += 1
        position.begin_epoch()
        reason = self.detector.update(averages[GENERATOR], averages[DISCRIMINATOR], position.epoch)
        epoch = self.clock.end_epoch()
        line = EpochLine(
            position.epoch,
            position.step,
            {name: averages[name] for name in LOSSES},
            epoch.seconds,
            epoch.steps,
            epoch.waited_share,
        )
        self.saver.line(str(line))
        self._tell(str(line))
        return reason if self.settings.detect_overtraining else None

    def _reason_to_end(self) -> str | None:
        if self.stopped:
            return "stopped as asked"
        if self.position.epoch >= self.settings.num_epochs:
            return "all epochs are done"
        if self.settings.max_steps is not None and self.position.step >= self.settings.max_steps:
            return "all steps are done"
        return None

    def _agreed_wishes(self) -> tuple[bool, bool]:
        """Whether any process is asked to stop, and whether the first one's clock says to save."""
        seconds = self.settings.save_seconds
        is_due = seconds is not None and time.monotonic() - self._last_save >= seconds
        to_stop, to_save = self.wish.is_there, is_due and self.accelerator.is_main_process
        if self.accelerator.num_processes == 1:
            return to_stop, to_save
        wishes = torch.tensor([to_stop, to_save], dtype=torch.float32, device=self.accelerator.device)
        stops, saves = self.accelerator.reduce(wishes, "sum").tolist()
        return stops > 0, saves > 0

    def _save_if_due(self, epoch_ended: bool, wishes_to_save: bool) -> None:
        position, settings = self.position, self.settings
        of_epoch = epoch_ended and position.epoch % settings.save_interval == 0
        of_step = settings.save_steps is not None and position.step % settings.save_steps == 0
        if of_epoch or of_step or wishes_to_save:
            self._save(scored=of_epoch or of_step)

    def _save(self, *, scored: bool) -> None:
        self._named(self.position.sums)  # nothing that is no number may replace a checkpoint
        self.position.sums = self.accelerator.reduce(self.position.sums, "mean")
        self.position.seconds += self.clock.take_seconds()
        self.saver.save(self.position, self.detector, self.keys, scored=scored)
        self._saved_step, self._last_save = self.position.step, time.monotonic()
        self.clock.resume()

    def _named(self, values: torch.Tensor) -> dict[str, float]:
        """The values of a step, averaged over processes, by name.

        Raises
        ------
        TrainingError
            One of them is not a number.
        """
        averaged = self.accelerator.reduce(values, "mean")
        if not bool(torch.isfinite(averaged).all()):
            raise TrainingError(
                f"The losses are no numbers any more at step {self.position.step}: start again, which "
                "continues from the last checkpoint, with a lower learning_rate or with precision fp32."
            )
        return dict(zip(VALUES, averaged.tolist(), strict=True))

    def _tell(self, text: str) -> None:
        if not self.accelerator.is_main_process:
            return
        position = self.position
        done = position.epoch + position.batch / self.portions.steps_per_epoch
        fraction = done / self.settings.num_epochs
        if self.settings.max_steps is not None:
            fraction = max(fraction, position.step / self.settings.max_steps)
        with suppress(CancelledError):  # it is heard at the end of the step
            self.progress.report(PROGRESS_STEP, fraction, text)


@dataclass
class _Span:
    """Time spent on steps, saving aside."""

    seconds: float = 0.0
    steps: int = 0
    waited: float = 0.0

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds if self.seconds > 0 else 0.0

    @property
    def waited_share(self) -> float:
        return self.waited / self.seconds if self.seconds > 0 else 0.0

    def add(self, seconds: float, waited: float) -> None:
        self.seconds += seconds
        self.waited += waited
        self.steps += 1


class _Clock:
    """Times steps: of the running epoch, of the run, and since the last save."""

    def __init__(self) -> None:
        self.epoch, self.run, self._unsaved = _Span(), _Span(), _Span()
        self._step_began, self._waited_before = 0.0, 0.0

    def start(self) -> None:
        self._step_began = time.perf_counter()

    resume = start

    def count(self, waited_in_all: float) -> None:
        """A step has ended; the feed's consumer has waited so many seconds since it began."""
        now = time.perf_counter()
        for span in (self.epoch, self.run, self._unsaved):
            span.add(now - self._step_began, waited_in_all - self._waited_before)
        self._step_began, self._waited_before = now, waited_in_all

    def end_epoch(self) -> _Span:
        ended, self.epoch = self.epoch, _Span()
        return ended

    def take_seconds(self) -> float:
        taken, self._unsaved = self._unsaved, _Span()
        return taken.seconds
