"""Trainings of tiny networks on a few tones: what they leave behind, and how they go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from torch import Tensor

from small_training import SmallData, leave_out_what_takes_time, tiny_settings
from ultimate_rvc.choices import EmbedderModel, Vocoder
from ultimate_rvc.errors import SettingError, TrainingError
from ultimate_rvc.paths import voice_models_dir
from ultimate_rvc.progress import Progress
from ultimate_rvc.rvc.train import saving, sizes
from ultimate_rvc.rvc.train.accelerators import open_accelerator
from ultimate_rvc.rvc.train.checkpoints import (
    Checkpoint,
    checkpoint_folders,
    load_checkpoint,
    save_checkpoint,
)
from ultimate_rvc.rvc.train.data_settings import ExtractSettings
from ultimate_rvc.rvc.train.estimate import expected_description
from ultimate_rvc.rvc.train.folders import TrainingFolder
from ultimate_rvc.rvc.train.loop import LOCK_FILE, TrainingResult, train
from ultimate_rvc.rvc.train.networks import config_of
from ultimate_rvc.rvc.train.resuming import NETWORKS, deciding_settings, refuse_other_networks_early
from ultimate_rvc.rvc.train.scores import write_plot
from ultimate_rvc.rvc.train.settings import NetworkChoice, Precision
from ultimate_rvc.rvc.train.tables import DataDescription
from ultimate_rvc.rvc.voice_file.read import load_voice_model, read_voice_file

TESTS = Path(__file__).resolve().parents[2]
USUAL_LAYERS = {name: getattr(sizes, name) for name in ("RESBLOCK_KERNELS", "RESBLOCK_DILATIONS")}
PATIENCE_SECONDS = 300  # other work may stop this process for a while


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _in_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_what_takes_time(monkeypatch.setattr)


@pytest.fixture
def usual_layers(_in_little_time: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in USUAL_LAYERS.items():
        monkeypatch.setattr(sizes, name, value)


def run(name: str, **settings: Any) -> TrainingResult:
    return train(SmallData(), TrainingFolder.named(name), tiny_settings(**settings))


def latest(name: str) -> Checkpoint:
    checkpoint = load_checkpoint(TrainingFolder.named(name).checkpoints)
    assert checkpoint is not None
    return checkpoint


def assert_same(first: Any, second: Any, path: str = "") -> None:
    """Equal to the last bit, whatever they are made of."""
    if isinstance(first, Tensor):
        assert torch.equal(first, second), path
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_same(first[key], second[key], f"{path}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), path
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{path}[{number}]")
    else:
        assert first == second, path


def assert_same_training(first: str, second: str) -> None:
    """Two trainings stand at the same point: weights, optimizers, schedules, scores, sums."""
    one, other = latest(first), latest(second)
    assert_same(one.generator, other.generator)
    assert_same(one.discriminator, other.discriminator)
    clock = {"seconds": 0.0}
    assert_same({**one.state, **clock}, {**other.state, **clock})


# --- a whole training ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TrainingResult, list[str], Path]]:
    """A training of three epochs, what it told, and its folder."""
    home = tmp_path_factory.mktemp("finished")
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        leave_out_what_takes_time(patch.setattr)
        patch.setattr(saving, "write_plot", write_plot)
        patch.setenv("URVC_VOICE_MODELS_DIR", str(home / "voice_models"))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        folder = TrainingFolder(home / "Jürgen Groß")
        settings = tiny_settings(num_epochs=3, learning_rate=1e-3)
        result = train(SmallData(), folder, settings, Progress(lambda step, part, text: told.append(text)))
        torch.set_num_threads(threads)
        yield result, told, folder.path


def test_the_loss_falls(finished: tuple[TrainingResult, list[str], Path]) -> None:
    _, told, _ = finished
    lines = [text for text in told if text.startswith("epoch ")]
    losses = [float(line.split("mel ")[1].split(",")[0]) for line in lines]
    assert len(losses) == 3
    assert losses[2] < 0.9 * losses[0]


def test_a_training_tells_of_every_epoch(finished: tuple[TrainingResult, list[str], Path]) -> None:
    _, told, path = finished
    lines = (path / "logs" / "train.log").read_text(encoding="utf-8").splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split(" |")[0] for line in epochs] == ["epoch 1 step 3", "epoch 2 step 6", "epoch 3 step 9"]
    assert all("steps/s" in line and "% waiting for data" in line for line in epochs)
    assert set(epochs) < set(told)


def test_every_saved_epoch_has_a_score(finished: tuple[TrainingResult, list[str], Path]) -> None:
    result, _, path = finished
    table = (path / "logs" / "scores.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split(",") for line in table[1:]]
    assert table[0] == "epoch,step,mel_distance,similarity,score"
    assert [row[:2] for row in rows] == [["1", "3"], ["2", "6"], ["3", "9"]]
    assert result.best is not None
    assert f"{result.best.mel_distance:.4f}" == min(row[2] for row in rows)
    assert (path / "logs" / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_the_voice_in_the_library_is_the_best_one(finished: tuple[TrainingResult, list[str], Path]) -> None:
    result, _, _ = finished
    assert result.voice is not None
    assert result.best is not None
    metadata = read_voice_file(result.voice.model).metadata
    assert (metadata.epoch, metadata.step) == (result.best.epoch, result.best.step)
    assert metadata.embedder == "starter"
    assert metadata.embedder_recorded
    assert metadata.speakers[0].name == "singer 0"
    assert metadata.warnings == ()
    assert result.voice.folder.name == "Jürgen Groß"
    assert result.voice.index.stat().st_size > 1000


def test_the_voice_renders(finished: tuple[TrainingResult, list[str], Path]) -> None:
    result, _, _ = finished
    assert result.voice is not None
    voice, piece = load_voice_model(result.voice.model), SmallData().held_out()[0]
    assert piece.pitch is not None
    assert piece.f0_hz is not None
    inputs = piece.features[None], piece.pitch[None], piece.f0_hz[None]
    waveform = voice.synthesizer.infer(*inputs, torch.tensor([0]))
    assert waveform.shape == (1, len(piece.waveform))
    assert 1e-4 < float(waveform.abs().max()) <= 1


def test_the_voice_tells_of_its_training(finished: tuple[TrainingResult, list[str], Path]) -> None:
    result, _, _ = finished
    assert result.voice is not None
    record = json.loads(result.voice.record.read_text(encoding="utf-8"))
    assert record["sample_rate"] == 32_000
    assert record["embedder"] == "starter"
    assert record["pitch_percentiles_hz"] == {"5": 110.0, "50": 220.0, "95": 330.0}
    assert record["dataset_seconds"] == pytest.approx(3.6)
    assert record["training"]["epochs"] == 3
    assert record["training"]["steps"] == 9
    assert set(record["files"]) == {"Jürgen Groß.pth", "Jürgen Groß.index"}
    assert record["files"]["Jürgen Groß.pth"]["bytes"] == result.voice.model.stat().st_size


def test_tensorboard_has_losses_norms_pictures_and_sound(
    finished: tuple[TrainingResult, list[str], Path],
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, _, path = finished
    events = EventAccumulator(str(path / "logs" / "tensorboard")).Reload()
    tags = events.Tags()
    assert {"train/mel", "train/kl", "train/generator_gradient_norm"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("train/mel")] == [2, 4, 6, 8]
    assert set(tags["images"]) == {"held-out/recording", "held-out/conversion"}
    assert [event.step for event in events.Audio("held-out/conversion")] == [3, 6, 9]


def test_only_the_latest_checkpoint_and_the_best_and_latest_voice_are_kept(
    finished: tuple[TrainingResult, list[str], Path],
) -> None:
    result, _, path = finished
    assert [folder.name for folder in checkpoint_folders(path / "checkpoints")] == ["step_00000009"]
    steps = {int(file.stem.split("_")[-1].removesuffix("s")) for file in (path / "weights").iterdir()}
    assert result.best is not None
    assert steps == {9, result.best.step}


# --- going on ------------------------------------------------------------------------------------


def start(name: str, **settings: Any) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
    command = [sys.executable, str(TESTS / "training_process.py"), name, json.dumps(settings)]
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def wait_for_checkpoint(name: str, step: int, process: subprocess.Popen[str]) -> None:
    folder = TrainingFolder.named(name).checkpoints / f"step_{step:08d}"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not folder.is_dir():
        assert process.poll() is None, "the training ended before it was to be ended"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_and_interrupted_training_ends_with_the_weights_of_an_undisturbed_one() -> None:
    settings = {"num_epochs": 3, "save_seconds": 0, "save_all_checkpoints": True}
    killed = start("disturbed", **settings)
    wait_for_checkpoint("disturbed", 1, killed)
    killed.kill()
    killed.wait(PATIENCE_SECONDS)

    interrupted = start("disturbed", **settings)
    wait_for_checkpoint("disturbed", 3, interrupted)
    interrupted.send_signal(signal.SIGINT)
    output, _ = interrupted.communicate(timeout=PATIENCE_SECONDS)
    assert interrupted.returncode == 0
    ended = json.loads(output)
    assert ended["stopped"]
    assert 3 <= ended["step"] < 9

    resumed = run("disturbed", **settings)
    assert (resumed.stopped, resumed.step) == (False, 9)
    undisturbed = run("undisturbed", **settings)
    assert undisturbed.step == 9
    assert_same_training("disturbed", "undisturbed")


def test_a_training_goes_on_with_more_epochs() -> None:
    run("in parts", num_epochs=1, warm_up_steps=4)
    run("in parts", num_epochs=2, warm_up_steps=4)
    run("in one go", num_epochs=2, warm_up_steps=4)
    assert_same_training("in parts", "in one go")


def test_what_was_trained_to_its_end_is_only_finished_again() -> None:
    first = run("done", num_epochs=1, warm_up_steps=9)
    again = run("done", num_epochs=1, warm_up_steps=9)
    assert (again.step, again.reason, again.best) == (first.step, "all epochs are done", first.best)
    assert again.steps_per_second == 0


def test_another_batch_size_begins_the_running_epoch_anew() -> None:
    run("batches", max_steps=2, warm_up_steps=9)
    run("batches", batch_size=4, num_epochs=1, warm_up_steps=9)
    state = latest("batches").state
    assert (state["epoch"], state["step"]) == (1, 2 + 2)


def test_scores_of_other_data_are_forgotten_and_of_the_same_kept() -> None:
    folder = TrainingFolder.named("scored")

    def scored_epochs(epochs: int, copies: int) -> list[str]:
        train(SmallData(copies=copies), folder, tiny_settings(num_epochs=epochs))
        table = (folder.logs / "scores.csv").read_text(encoding="utf-8").splitlines()
        return [row.split(",")[0] for row in table[1:]]

    assert scored_epochs(1, copies=0) == ["1"]
    assert scored_epochs(2, copies=0) == ["1", "2"]
    assert scored_epochs(3, copies=1) == ["3"]


def test_other_networks_do_not_go_on_from_a_checkpoint() -> None:
    run("sizes", max_steps=1, warm_up_steps=9)
    with pytest.raises(TrainingError, match=r"with discriminator_width 0\.0625, not 0\.1: use"):
        run("sizes", max_steps=2, discriminator_width=0.1)
    with pytest.raises(TrainingError, match=r"with network_size tiny, not small: .* clear_saved_data"):
        run("sizes", max_steps=2, network_size=NetworkChoice.SMALL)
    folder = TrainingFolder.named("sizes")
    told = r"begun with vocoder HiFi-GAN, not RefineGAN and speakers 1, not 2:"
    with pytest.raises(TrainingError, match=told):
        train(SmallData(speakers=2), folder, tiny_settings(vocoder=Vocoder.REFINE_GAN))
    result = run("sizes", max_steps=2, warm_up_steps=9, discriminator_width=0.1, clear_saved_data=True)
    assert result.step == 2


@pytest.mark.parametrize(
    ("preparing", "training", "told"),
    [
        ({}, {}, None),
        ({"sample_rate": 40_000}, {}, "sample_rate 32000, not 40000:"),
        (
            {"sample_rate": 40_000},
            {"network_size": "small"},
            "sample_rate 32000, not 40000 and network_size tiny",
        ),
        ({"version": "v1"}, {}, "version v2, not v1:"),
        ({"has_f0": False}, {}, "has_f0 True, not False:"),
        ({"speakers": 3}, {}, "speakers 1, not 3:"),
        ({"embedder_model": EmbedderModel.STARTER}, {}, "embedder_model spin, not starter:"),
        ({"embedder_model": EmbedderModel.CONTENTVEC}, {}, None),  # as wide
        ({"sample_rate": 40_000}, {"clear_saved_data": True}, None),
    ],
)
def test_what_differs_is_told_before_the_data_are_prepared_again(
    preparing: dict[str, Any], training: dict[str, Any], told: str | None, tmp_path: Path
) -> None:
    folder = TrainingFolder(tmp_path)
    given: dict[str, Any] = {"sample_rate": 32_000, "speakers": 1, "embedder_model": EmbedderModel.SPIN}

    def expected(changes: dict[str, Any]) -> DataDescription:
        values = given | changes
        rate, speakers = values.pop("sample_rate"), values.pop("speakers")
        return expected_description(rate, speakers, ExtractSettings(**values))

    before, settings = expected({}), tiny_settings()
    deciding = deciding_settings(before, settings, config_of(before, settings))
    save_checkpoint(folder.checkpoints, 1, Checkpoint({}, {}, {NETWORKS: deciding}), keep_all=False)
    now, settings = expected(preparing), tiny_settings(**training)
    with pytest.raises(TrainingError, match=told) if told else nullcontext():
        refuse_other_networks_early(folder, now, settings)


def test_a_checkpoint_of_an_earlier_version_does_not_say_its_settings(tmp_path: Path) -> None:
    run("older", max_steps=1)
    state = {name: value for name, value in latest("older").state.items() if name != NETWORKS}
    folder, older = TrainingFolder.named("older"), latest("older")
    save_checkpoint(folder.checkpoints, 1, replace(older, state=state), keep_all=False)
    with pytest.raises(TrainingError, match="of other networks than these settings ask for"):
        run("older", max_steps=2, network_size=NetworkChoice.SMALL)
    assert run("older", max_steps=2).step == 2


def test_cancelling_the_progress_saves_and_ends() -> None:
    def cancel_at_step_2(step: str, fraction: float, text: str) -> None:
        if text.startswith("step 2,"):
            progress.cancel()

    progress = Progress(cancel_at_step_2)
    result = train(SmallData(), TrainingFolder.named("cancelled"), tiny_settings(warm_up_steps=9), progress)
    assert (result.stopped, result.step) == (True, 2)
    assert latest("cancelled").state["step"] == 2
    assert result.voice is not None


def test_a_voice_is_trained_by_one_run_at_a_time() -> None:
    folder = TrainingFolder.named("busy")
    folder.path.mkdir(parents=True)
    with FileLock(folder.path / LOCK_FILE), pytest.raises(TrainingError, match="'busy' is being trained"):
        run("busy")


def test_a_damaged_checkpoint_is_named() -> None:
    run("damaged", max_steps=1, warm_up_steps=9)
    (folder,) = checkpoint_folders(TrainingFolder.named("damaged").checkpoints)
    (folder / "G.pth").write_bytes((folder / "G.pth").read_bytes()[:5000])
    with pytest.raises(TrainingError, match=r"step_00000001 is damaged: remove that folder"):
        run("damaged", max_steps=2, warm_up_steps=9)


# --- settings ------------------------------------------------------------------------------------


def test_discriminators_rest_while_the_generator_warms_up() -> None:
    run("cold", max_steps=1, warm_up_steps=9)
    before = latest("cold").discriminator["model"]
    run("cold", max_steps=2, warm_up_steps=9)
    assert_same(latest("cold").discriminator["model"], before)
    run("cold", max_steps=4, warm_up_steps=3)
    after = latest("cold").discriminator["model"]
    assert any(not torch.equal(after[key], before[key]) for key in before)


def test_a_learning_rate_can_be_changed_on_the_way() -> None:
    run("rate", num_epochs=1, warm_up_steps=99)
    run("rate", num_epochs=2, warm_up_steps=99, learning_rate=1e-5)
    (group,) = latest("rate").generator["optimizer"]["param_groups"]
    assert group["lr"] == pytest.approx(1e-5 * 0.999875**2)
    (waiting,) = latest("rate").discriminator["optimizer"]["param_groups"]
    assert waiting["lr"] == pytest.approx(1e-5)


def test_averaged_weights_are_saved_as_the_voice_and_survive_a_restart() -> None:
    settings: dict[str, Any] = {"average_weights": True, "warm_up_steps": 99, "learning_rate": 1e-3}
    run("average", num_epochs=1, **settings)
    run("average", num_epochs=2, **settings)
    result = run("average at once", num_epochs=2, **settings)
    assert_same_training("average", "average at once")
    assert result.voice is not None
    saved = read_voice_file(result.voice.model).state["enc_p.emb_phone.weight"]
    state = latest("average").state["learner"]["average"]["enc_p.emb_phone.weight"]
    last = latest("average").generator["model"]["enc_p.emb_phone.weight"]
    assert torch.equal(saved, state.half())
    assert not torch.equal(saved, last.half())


def test_learning_from_the_prior_teaches_all_but_the_posterior_encoder() -> None:
    run("from prior", max_steps=1, learn_from="prior")
    first = latest("from prior").generator["model"]
    run("from prior", max_steps=3, learn_from="prior")
    after = latest("from prior").generator["model"]
    resting = {key for key in after if torch.equal(after[key], first[key])}
    assert {key for key in after if key.startswith("enc_q.")} <= resting
    assert not any(key.startswith(("dec.", "flow.", "enc_p.emb_phone")) for key in resting)
    run("from prior at once", max_steps=3, learn_from="prior")
    assert_same(latest("from prior at once").generator["model"], after)


def test_activations_computed_twice_and_preloaded_data_change_no_weight() -> None:
    run("plain", max_steps=1)
    run("thrifty", max_steps=1, reduce_memory_usage=True, preload_dataset=True)
    plain, thrifty = latest("plain").generator["model"], latest("thrifty").generator["model"]
    assert all(torch.allclose(plain[key], thrifty[key], atol=1e-6) for key in plain)


@pytest.mark.usefixtures("usual_layers")  # a step of fewer differs by more
def test_bfloat16_learns_almost_the_same() -> None:
    run("single", max_steps=1)
    run("half", max_steps=1, precision="bf16")
    sums = [latest(name).state["sums"] for name in ("single", "half")]
    assert torch.allclose(sums[0][:6], sums[1][:6], rtol=0.05)
    assert not torch.equal(sums[0], sums[1])


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(SettingError, match="precision fp16 needs a GPU"):
        run("refused", precision="fp16")


@contextmanager
def pretend_scaling(device: str, precision: Precision) -> Iterator[Any]:
    """What accelerate does on a GPU in float16, on the processor: half precision, and losses scaled up."""
    with open_accelerator(device, Precision.FP32) as accelerator:
        if precision is Precision.FP32:
            yield accelerator
            return
        accelerator.state._mixed_precision = "fp16"
        accelerator.native_amp = True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**6, growth_interval=3)
        yield accelerator


def test_float16_scales_its_losses_and_goes_on_with_the_same_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultimate_rvc.rvc.train.loop.open_accelerator", pretend_scaling)
    run("scaled", max_steps=1, precision="fp16")
    run("scaled", max_steps=2, precision="fp16")
    run("scaled at once", max_steps=2, precision="fp16")
    states = [latest(name).state for name in ("scaled", "scaled at once")]
    assert_same(*[latest(name).generator["model"] for name in ("scaled", "scaled at once")])
    assert states[0]["learner"]["scaler"] == states[1]["learner"]["scaler"]
    assert states[0]["learner"]["scaler"]["scale"] == 2.0**7  # 4 good steps: two of each optimizer
    run("single", max_steps=2)
    assert torch.allclose(states[0]["sums"], latest("single").state["sums"], rtol=0.05)


def test_a_gradient_beyond_half_precision_skips_a_step_and_lowers_the_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ultimate_rvc.rvc.train.loop.open_accelerator", pretend_scaling)
    monkeypatch.setattr("ultimate_rvc.rvc.train.step.MEL_WEIGHT", 1e9)
    result = run("overflow", max_steps=1, warm_up_steps=9, precision="fp16")
    assert result.step == 1
    checkpoint = latest("overflow")
    assert checkpoint.state["learner"]["scaler"]["scale"] == 2.0**5
    assert checkpoint.generator["optimizer"]["state"] == {}


def test_a_voice_without_f0_trains() -> None:
    folder = TrainingFolder.named("no pitch")
    settings = tiny_settings(max_steps=1, warm_up_steps=9)
    result = train(SmallData(has_f0=False, speakers=2), folder, settings)
    assert result.voice is not None
    metadata = read_voice_file(result.voice.model).metadata
    assert not metadata.has_f0
    assert [speaker.name for speaker in metadata.speakers] == ["singer 0", "singer 1"]


@pytest.mark.usefixtures("usual_layers")  # which a checkpoint does not record
@pytest.mark.parametrize("kind", ["voice", "checkpoint"])
def test_a_training_starts_from_an_earlier_voice(kind: str) -> None:
    first = run("first", max_steps=1, warm_up_steps=9)
    assert first.voice is not None
    (folder,) = checkpoint_folders(TrainingFolder.named("first").checkpoints)
    generator = first.voice.model if kind == "voice" else folder / "G.pth"
    settings: dict[str, Any] = {"network_size": "auto", "pretrained_generator": generator}
    run("second", max_steps=1, learning_rate=1e-9, pretrained_discriminator=folder / "D.pth", **settings)
    before, after = latest("first").generator["model"], latest("second").generator["model"]
    compared = [key for key in before if kind == "checkpoint" or not key.startswith("enc_q.")]
    assert all(torch.allclose(before[key], after[key], atol=2e-3, rtol=2e-3) for key in compared)
    judges = [latest(name).discriminator["model"] for name in ("first", "second")]
    assert all(torch.allclose(judges[0][key], judges[1][key], atol=1e-6) for key in judges[0])


def test_a_voice_of_another_sample_rate_is_no_start(tmp_path: Path) -> None:
    from voice_factory import write_voice

    other = write_voice(tmp_path / "other.pth", sample_rate=40_000)
    with pytest.raises(SettingError, match="works at a sample rate of 40000, but this training has 32000"):
        run("refused", network_size="auto", pretrained_generator=other)


def test_a_voice_that_no_training_made_is_not_replaced() -> None:
    (voice_models_dir() / "mine").mkdir(parents=True)
    with pytest.raises(TrainingError, match=r"'mine' is in .* already, and no training made it"):
        run("mine", max_steps=1)


def test_overtraining_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultimate_rvc.rvc.train.overtraining.MIN_IMPROVEMENT", 1e9)
    result = run("over", num_epochs=9, detect_overtraining=True, overtraining_threshold=1, warm_up_steps=99)
    assert not result.stopped
    assert result.reason.startswith("overtraining: the generator has not got better since epoch 1")
    assert result.epoch == 2


def test_losses_that_are_no_numbers_replace_no_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    run("broken", max_steps=1, warm_up_steps=9)
    monkeypatch.setattr("ultimate_rvc.rvc.train.step.MEL_WEIGHT", float("nan"))
    with pytest.raises(TrainingError, match="no numbers any more at step 2: start again"):
        run("broken", max_steps=3, warm_up_steps=9)
    assert latest("broken").state["step"] == 1
