"""The small parts around the loop: settings, overtraining, the data feed, wishes to stop, logs, scores."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from signals import deliver
from small_training import N_FFT, SAMPLE_RATE, SmallData
from ultimate_rvc.errors import SettingError
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.networks.synthesizer import Synthesizer
from ultimate_rvc.rvc.train import stopping
from ultimate_rvc.rvc.train.batches import Batch
from ultimate_rvc.rvc.train.feed import Feed
from ultimate_rvc.rvc.train.logs import EpochLine, TrainingLog, mel_picture
from ultimate_rvc.rvc.train.mel import MelSpectrogram
from ultimate_rvc.rvc.train.overtraining import MIN_IMPROVEMENT, OvertrainingDetector
from ultimate_rvc.rvc.train.portions import Portions, Preloaded, at_least
from ultimate_rvc.rvc.train.scores import Score, Scorer, best_score, write_plot, write_table
from ultimate_rvc.rvc.train.settings import Precision, TrainingSettings

# --- settings ------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_rvc() -> None:
    settings = TrainingSettings()
    assert (settings.num_epochs, settings.batch_size, settings.save_interval) == (500, 8, 10)
    assert (settings.learning_rate, settings.learning_rate_decay, settings.seed) == (1e-4, 0.999875, 1234)
    assert (settings.detect_overtraining, settings.overtraining_threshold) == (False, 50)
    assert settings.precision is Precision.FP32


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_epochs", 0),
        ("batch_size", 0),
        ("learning_rate", float("nan")),
        ("save_interval", 0),
        ("max_steps", 0),
        ("save_seconds", -1),
        ("discriminator_width", 0),
        ("average_decay", 1),
        ("precision", "fp8"),
        ("vocoder", "HiFi"),
        ("index_algorithm", "auto"),
    ],
)
def test_a_setting_out_of_range_is_named(option: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"{option} is "):
        TrainingSettings(**{option: value})


# --- overtraining --------------------------------------------------------------------------------


def epochs_until_stop(generator: list[float], discriminator: list[float], threshold: int) -> int | None:
    detector = OvertrainingDetector(threshold)
    for epoch, losses in enumerate(zip(generator, discriminator, strict=True), start=1):
        if detector.update(*losses, epoch):
            return epoch
    return None


def test_a_generator_without_improvement_for_the_threshold_is_overtrained() -> None:
    better = [3.0, 2.0, 1.0]
    assert epochs_until_stop(better + [1.0] * 9, [*np.linspace(5, 1, 12)], threshold=4) == 3 + 4


def test_a_discriminator_is_given_twice_the_time() -> None:
    assert epochs_until_stop([*np.linspace(9, 1, 12)], [3.0, *[3.0] * 11], threshold=4) == 1 + 8


def test_a_change_below_the_least_improvement_is_none() -> None:
    creeping = [1 - 0.9 * MIN_IMPROVEMENT * (epoch % 2) for epoch in range(9)]
    assert epochs_until_stop(creeping, [*np.linspace(9, 1, 9)], threshold=3) == 4


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=30), st.integers(0, 30))
def test_a_detector_goes_on_from_its_state(losses: list[tuple[float, float]], cut: int) -> None:
    whole, first, second = (OvertrainingDetector(5) for _ in range(3))
    reasons = [whole.update(*pair, epoch) for epoch, pair in enumerate(losses)]
    parts = [first.update(*pair, epoch) for epoch, pair in enumerate(losses[:cut])]
    second.load_state(first.state())
    parts += [second.update(*pair, epoch) for epoch, pair in enumerate(losses[cut:], start=len(parts))]
    assert parts == reasons


# --- the feed ------------------------------------------------------------------------------------


def test_a_feed_gives_everything_in_order() -> None:
    feed = Feed(range(50), lambda number: number * number)
    assert list(feed) == [number * number for number in range(50)]
    feed.close()


def test_an_error_while_making_reaches_the_consumer() -> None:
    feed = Feed([1, 0], lambda number: 1 // number)
    results = iter(feed)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    feed.close()


def test_a_closed_feed_makes_no_more() -> None:
    made: list[int] = []
    feed = Feed(range(10**9), made.append)
    next(iter(feed))
    feed.close()
    count = len(made)
    assert count < 20
    assert not any(thread.name == "training data" for thread in threading.enumerate())
    assert len(made) == count


# --- wishes to stop ------------------------------------------------------------------------------


def test_the_first_signal_is_a_wish_and_a_late_second_one_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now)
    monkeypatch.setattr(stopping.signal, "raise_signal", deliver)
    before = signal.getsignal(signal.SIGINT)
    with stopping.stop_wishes(Progress()) as wish:
        assert not wish.is_there
        deliver(signal.SIGINT)
        deliver(signal.SIGINT)  # the launcher's echo
        assert wish.is_there
        now += 60
        with pytest.raises(KeyboardInterrupt):
            deliver(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_cancelled_progress_is_a_wish_in_any_thread() -> None:
    progress, seen = Progress(), []

    def work() -> None:
        with stopping.stop_wishes(progress) as wish:
            seen.append(wish.is_there)
            progress.cancel()
            seen.append(wish.is_there)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True]


# --- portions ------------------------------------------------------------------------------------


def test_a_short_batch_is_padded_to_the_segment() -> None:
    batch = Batch.of([SmallData().example(0)])
    padded = at_least(batch, 64)
    assert padded.spectrogram.shape[-1] == padded.features.shape[1] == 64
    assert padded.waveform.shape[-1] == 64 * 320
    assert torch.equal(padded.waveform[..., : 50 * 320], batch.waveform)
    assert not padded.waveform[..., 50 * 320 :].any()
    assert int(padded.lengths) == 50
    assert at_least(batch, 50) is batch


def test_preloaded_data_are_the_same_data() -> None:
    data = SmallData(4)
    held = Preloaded(data)
    assert len(held) == 4
    assert held.frames == data.frames
    for number in range(4):
        assert held.example(number) is data.example(number)
        assert torch.equal(held.example(number, 1).features, data.example(number, 1).features)
        assert held.example(number, 1).waveform is data.example(number).waveform


def test_each_epoch_shows_pieces_and_their_copies_in_another_mixture() -> None:
    data = SmallData(12, copies=2)
    portions = Portions(data, 4, seed=3, process=0, processes=1, segment_frames=40, pin_memory=False)

    def copies_of(epoch: int) -> list[int]:
        """Of each piece in turn, which copy the epoch shows."""
        shown = {}
        for step in portions.plan(epoch, 0, epoch + 1):
            batch = portions.make(step).batch
            for piece, features in zip(step.pieces, batch.features, strict=True):
                frames = data.frames[piece]
                copies = [data.example(piece, copy).features for copy in range(3)]
                (shown[piece],) = [copy for copy in range(3) if torch.equal(features[:frames], copies[copy])]
        return [shown[piece] for piece in range(12)]

    epochs = [copies_of(epoch) for epoch in range(6)]
    assert {copy for epoch in epochs for copy in epoch} == {0, 1, 2}
    assert len(set(map(tuple, epochs))) == 6
    assert copies_of(2) == epochs[2]


# --- logs ----------------------------------------------------------------------------------------


def test_a_line_says_how_fast_and_how_idle_an_epoch_was() -> None:
    line = EpochLine(3, 120, {"mel": 21.5}, seconds=8.0, steps=40, waited_share=0.0123)
    assert str(line) == "epoch 3 step 120 | mel 21.500 | 8.0 s, 5.00 steps/s, 1.2 % waiting for data"


def test_lines_of_steps_that_are_done_again_are_forgotten(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, 0)
    for epoch in (1, 2, 3):
        log.line(str(EpochLine(epoch, 10 * epoch, {}, 1.0, 10, 0.0)))
    log.close()
    TrainingLog(tmp_path, 20).close()
    lines = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert [line[:7] for line in lines] == ["epoch 1", "epoch 2"]


def test_a_picture_has_low_bands_at_the_bottom() -> None:
    mel = np.full((8, 5), -11.5, np.float32)
    mel[0] = 1.5
    picture = mel_picture(mel)
    assert picture.shape == (16, 10, 3)
    assert picture.dtype == np.uint8
    assert int(picture[-1].min()) > int(picture[0].max())


# --- scores --------------------------------------------------------------------------------------


class Parrot(Synthesizer):
    """Gives back the waveforms it is told to."""

    def __init__(self, waveforms: list[Tensor]) -> None:
        torch.nn.Module.__init__(self)
        self._waveforms = iter(waveforms)

    def infer(self, *_: Any, **options: Any) -> Tensor:
        assert (options["noise_scale"], options["source_noise_scale"]) == (0.0, 0.0)
        return next(self._waveforms)[None]


def score_of(waveforms: list[Tensor], **options: Any) -> Score:
    data = SmallData(2, held_out=2)
    mel = MelSpectrogram(SAMPLE_RATE, n_fft=N_FFT, hop_length=320, mel_bands=80)
    scorer = Scorer(data.held_out(), SAMPLE_RATE, mel, torch.device("cpu"), options.get("embedder"))
    score, excerpt = scorer.score(Parrot(waveforms), 4, 99)
    assert (score.epoch, score.step) == (4, 99)
    assert np.array_equal(excerpt.recording, data.held_out()[0].waveform.numpy())
    assert np.array_equal(excerpt.conversion, waveforms[0].numpy())
    return score


def test_recordings_have_the_best_score_and_noise_a_worse_one() -> None:
    recordings = [example.waveform for example in SmallData(2, held_out=2).held_out()]
    noises = [0.1 * torch.randn(recording.shape) for recording in recordings]
    assert score_of(recordings) == Score(4, 99, 0.0, None)
    assert score_of([0.5 * recording for recording in recordings]).mel_distance < np.log(2) + 0.01
    assert score_of(noises).mel_distance > 2


def test_similarity_is_that_to_the_mean_of_the_recordings() -> None:
    def embedder(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        assert sample_rate == SAMPLE_RATE
        loud = float(np.abs(waveform).max()) > 0.2
        return np.array([1.0, 0.0] if loud else [0.6, 0.8], np.float32)

    recordings = [example.waveform for example in SmallData(2, held_out=2).held_out()]
    quiet = [0.1 * recording for recording in recordings]
    assert score_of(recordings, embedder=embedder).similarity == pytest.approx(1.0)
    assert score_of(quiet, embedder=embedder).similarity == pytest.approx(0.6)


def test_the_best_score_weighs_distance_and_similarity_where_all_have_one() -> None:
    near, alike = Score(1, 10, 0.50, 0.6), Score(2, 20, 0.55, 0.9)
    unknown = Score(3, 30, 0.52, None)
    assert best_score([near, alike]) is alike
    assert best_score([near, alike, unknown]) is near
    assert best_score([]) is None


def test_scores_survive_a_checkpoint() -> None:
    score = Score(1, 10, 0.5, None)
    assert Score.from_state(score.state()) == score


def test_the_table_and_the_plot_show_every_score(tmp_path: Path) -> None:
    scores = [Score(1, 10, 0.75, 0.5), Score(2, 20, 0.5, 0.625)]
    write_table(tmp_path / "scores.csv", scores)
    write_plot(tmp_path / "scores.png", scores)
    lines = (tmp_path / "scores.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [
        "epoch,step,mel_distance,similarity,score",
        "1,10,0.7500,0.5000,1.2500",
        "2,20,0.5000,0.6250,0.8750",
    ]
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
