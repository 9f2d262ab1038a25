"""What a training leaves on disk as it goes: checkpoints, voices, their scores, logs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ultimate_rvc.choices import VoiceVersion
from ultimate_rvc.errors import TrainingError
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.networks.weight_norm import fold_weight_norm
from ultimate_rvc.rvc.train.checkpoints import WEIGHTS_FOLDER, Checkpoint, random_states, save_checkpoint
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.logs import TrainingLog, going_on_without
from ultimate_rvc.rvc.train.overtraining import OvertrainingDetector
from ultimate_rvc.rvc.train.portions import TrainingData
from ultimate_rvc.rvc.train.position import DataKeys, Position
from ultimate_rvc.rvc.train.resuming import NETWORKS, deciding_settings
from ultimate_rvc.rvc.train.scores import (
    PLOT_FILE,
    TABLE_FILE,
    Score,
    Scorer,
    best_score,
    speaker_embedder,
    write_plot,
    write_table,
)
from ultimate_rvc.rvc.train.settings import TrainingSettings
from ultimate_rvc.rvc.train.step import Learner
from ultimate_rvc.rvc.voice_file.describe import Dialect, Speaker, VoiceFile, VoiceMetadata
from ultimate_rvc.rvc.voice_file.write import write_rvc_voice

if TYPE_CHECKING:
    from accelerate import Accelerator


class Saver:
    """Writes below ``folder``, in the first process; the others only take part in what all do together."""

    def __init__(
        self,
        data: TrainingData,
        folder: TrainingFolder,
        settings: TrainingSettings,
        accelerator: Accelerator,
        learner: Learner,
    ) -> None:
        self._data, self._folder, self._settings = data, folder, settings
        self._accelerator, self._learner = accelerator, learner
        self._log: TrainingLog | None = None
        self._scorer: Scorer | None = None

    def open_log(self, step: int) -> None:
        """Begin to log; ``step`` is where this run continues."""
        if self._accelerator.is_main_process:
            self._log = TrainingLog(self._folder.logs, step)

    def line(self, text: str) -> None:
        if self._log is not None:
            self._log.line(text)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        if self._log is not None:
            self._log.scalars(values, step)

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def save(
        self, position: Position, detector: OvertrainingDetector, keys: DataKeys, *, scored: bool
    ) -> None:
        """Write a checkpoint, and if ``scored`` the voice as it is now, with its score.

        Raises
        ------
        TrainingError
            Something cannot be written; the checkpoint before is kept.
        """
        from accelerate.utils import gather_object

        processes = gather_object([random_states()])
        if self._accelerator.is_main_process:
            if scored:
                self._score(position)
            config = self._learner.generator.config
            state = position.state(detector, keys) | {
                "random": processes,
                "learner": self._learner.other_state(),
                NETWORKS: deciding_settings(self._data.description, self._settings, config),
            }
            checkpoint = Checkpoint(
                self._learner.generator_state(position.epoch),
                self._learner.discriminator_state(position.epoch),
                state,
            )
            keep_all = self._settings.save_all_checkpoints
            save_checkpoint(self._folder.checkpoints, position.step, checkpoint, keep_all=keep_all)
            if scored:
                self._tell_scores(position)
        self._accelerator.wait_for_everyone()

    def weights_path(self, score: Score) -> Path:
        """Where the voice that had this score lies."""
        name = f"{self._folder.name}_{score.epoch}e_{score.step}s.pth"
        return self._folder.path / WEIGHTS_FOLDER / name

    def best_weights(self, position: Position) -> tuple[Score, Path] | None:
        """The best of the voices that are still there."""
        best = best_score([score for score in position.scores if self.weights_path(score).is_file()])
        return None if best is None else (best, self.weights_path(best))

    def _score(self, position: Position) -> None:
        """Write the voice as it is now, and add its score."""
        state = self._learner.voice_state()
        metadata = self._metadata(position)
        config, folded = metadata.config, fold_weight_norm(state)
        device = self._accelerator.device
        synthesizer = Synthesizer.from_state(
            config, folded, has_f0=metadata.has_f0, vocoder=metadata.vocoder
        ).to(device)
        if self._scorer is None:
            rate = metadata.sample_rate
            embedder = speaker_embedder()
            self._scorer = Scorer(self._data.held_out(), rate, self._learner.mel, device, embedder)
        score, excerpt = self._scorer.score(synthesizer, position.epoch, position.step)
        path = self.weights_path(score)
        try:
            write_rvc_voice(path, VoiceFile(metadata, state))
        except OSError as error:
            raise TrainingError(f"The voice cannot be written to {path} ({error.strerror}).") from error
        position.scores.append(score)
        if self._log is not None:
            values = {"held-out/mel_distance": score.mel_distance}
            if score.similarity is not None:
                values["held-out/similarity"] = score.similarity
            self._log.scalars(values, position.step)
            self._log.excerpt(excerpt, position.step)

    def _tell_scores(self, position: Position) -> None:
        """Bring table, plot and kept voices up to date, now that the checkpoint knows of the new score."""
        scores = position.scores
        with going_on_without(self._folder.logs):
            write_table(self._folder.logs / TABLE_FILE, scores)
            write_plot(self._folder.logs / PLOT_FILE, scores)
        last = scores[-1]
        similarity = "" if last.similarity is None else f", speaker similarity {last.similarity:.3f}"
        best = best_score(scores)
        assert best is not None
        self.line(
            f"saved epoch {last.epoch} step {last.step} | mel distance {last.mel_distance:.4f}{similarity} | "
            f"best so far: epoch {best.epoch} step {best.step}"
        )
        if not self._settings.save_all_weights:
            kept = {self.weights_path(last), self.weights_path(best)}
            for path in (self._folder.path / WEIGHTS_FOLDER).glob("*.pth"):
                if path not in kept:
                    path.unlink(missing_ok=True)

    def _metadata(self, position: Position) -> VoiceMetadata:
        description = self._data.description
        percentiles = description.f0_percentiles_hz
        return VoiceMetadata(
            config=self._learner.generator.config,
            version=VoiceVersion(description.version),
            has_f0=description.has_f0,
            vocoder=self._settings.vocoder,
            speakers=tuple(Speaker(number, name) for number, name in enumerate(description.speakers)),
            dialect=Dialect.RVC,
            embedder=description.embedder,
            embedder_recorded=True,
            epoch=position.epoch,
            step=position.step,
            model_name=self._folder.name,
            f0_median_hz=None if percentiles is None else percentiles[1],
        )
